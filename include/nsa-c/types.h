/*===- nsa-c/types.h - What launchers of all kinds share ----------*- C -*-===*\
|*                                                                            *|
|* Part of the nsa project, under the Apache License v2.0 with LLVM           *|
|* Exceptions. See LICENSE for license information.                           *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
|*===----------------------------------------------------------------------===*|
|*                                                                            *|
|* Statuses and kinds of arguments. nsa-c/runtime.h includes this file, and   *|
|* generated headers carry it, so that both may stand in one file.            *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#ifndef NSA_C_TYPES_H
#define NSA_C_TYPES_H

typedef enum nsa_status {
  NSA_OK = 0,
  /* A value is out of range: a size, a shape, a stride, an overlap, ... */
  NSA_INVALID_ARGUMENT = 1,
  /* A wrong dtype, a missing or an unknown argument, a size where an array is
   * expected or the reverse. */
  NSA_TYPE = 2,
  /* The manifest is malformed or of an unknown schema. */
  NSA_MANIFEST = 3,
  /* A file cannot be read. */
  NSA_IO = 4,
  /* libcuda.so.1 is not there or too old. */
  NSA_NO_DRIVER = 5,
  /* The driver is there, the device is not. */
  NSA_NO_DEVICE = 6,
  /* The PTX is newer than the driver, or for another device. */
  NSA_UNSUPPORTED_PTX = 7,
  /* The step has no kernel for where the arrays live. */
  NSA_NO_KERNEL = 8,
  /* A driver call failed; the message has its name. */
  NSA_DRIVER = 9,
  NSA_OUT_OF_MEMORY = 10,
  NSA_INTERNAL = 11
} nsa_status;

typedef enum nsa_argument_kind {
  NSA_KIND_SIZE = 0,
  NSA_KIND_IN = 1,
  NSA_KIND_OUT = 2
} nsa_argument_kind;

#endif /* NSA_C_TYPES_H */
