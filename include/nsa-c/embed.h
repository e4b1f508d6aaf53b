/*===- nsa-c/embed.h - Launching a step by its header -------------*- C -*-===*\
|*                                                                            *|
|* Part of the nsa project, under the Apache License v2.0 with LLVM           *|
|* Exceptions. See LICENSE for license information.                           *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
|*===----------------------------------------------------------------------===*|
|*                                                                            *|
|* What all generated headers share beside the checks: arrays as C has them,  *|
|* and the CUDA driver. They carry this file; nobody else needs it.           *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#ifndef NSA_C_EMBED_H
#define NSA_C_EMBED_H

#ifndef NSA_C_CHECKS_H
#include "nsa-c/checks.h"
#endif

#include <cuda.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An array in device memory; sizes and strides in elements. A 1-D array uses
 * the first entry of each. */
typedef struct nsa_view {
  void *data;
  int64_t size[2];
  int64_t stride[2];
} nsa_view;

/* Checks the arguments of a call. offsets[i] is where argument i lies in the
 * argument struct: an nsa_view, or an int64_t for a size. `arrays` and
 * `regions` are room for an entry for each argument. Leaves in `sizes` what the
 * kernels take and in `blocks` the grid of each. */
static inline nsa_status nsa_check_call(const nsa_signature *step,
                                        const size_t *offsets, const void *args,
                                        nsa_strided *arrays,
                                        nsa_region *regions, int64_t *sizes,
                                        int64_t *blocks, nsa_message *message) {
  nsa_status status = NSA_OK;
  size_t i;
  for (i = 0; i < step->num_ports; ++i) {
    const nsa_port *port = &step->ports[i];
    const void *argument = (const char *)args + offsets[i];
    const nsa_view *view;
    if (port->kind == NSA_KIND_SIZE) {
      sizes[port->size_index] = *(const int64_t *)argument;
      continue;
    }
    view = (const nsa_view *)argument;
    arrays[i].base = (uint64_t)(uintptr_t)view->data;
    arrays[i].item_size = port->item_size;
    arrays[i].ndim = port->ndim;
    arrays[i].shape = view->size;
    arrays[i].strides = view->stride;
    status = nsa_check_array(port, &arrays[i], &regions[i], message);
    if (status != NSA_OK)
      return status;
  }
  return nsa_check_launch(step, arrays, regions, sizes, blocks, message);
}

static inline nsa_status nsa_check_driver(CUresult result, const char *what,
                                          nsa_message *message) {
  const char *text = NULL;
  if (result == CUDA_SUCCESS)
    return NSA_OK;
  cuGetErrorString(result, &text);
  nsa_fail(message);
  nsa_say(message, "%s: %s", what, text ? text : "unknown error");
  return NSA_DRIVER;
}

/* Launches a grid, if it has blocks. */
static inline nsa_status nsa_launch(CUfunction function, int64_t blocks,
                                    unsigned threads, CUstream stream,
                                    void **parameters, nsa_message *message) {
  if (blocks == 0)
    return NSA_OK;
  return nsa_check_driver(cuLaunchKernel(function, (unsigned)blocks, 1, 1,
                                         threads, 1, 1, 0, stream, parameters,
                                         NULL),
                          "cannot launch", message);
}

/* The same for a kernel that waits for the one before it in the stream by
 * itself: it may begin before that has ended. (A cuda.h before CUDA 11.8 cannot
 * say so.) */
static inline nsa_status nsa_launch_dependent(CUfunction function,
                                              int64_t blocks, unsigned threads,
                                              CUstream stream,
                                              void **parameters,
                                              nsa_message *message) {
#if defined(CUDA_VERSION) && CUDA_VERSION >= 11080
  CUlaunchAttribute attribute;
  CUlaunchConfig config;
  if (blocks == 0)
    return NSA_OK;
  memset(&attribute, 0, sizeof(attribute));
  attribute.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
  attribute.value.programmaticStreamSerializationAllowed = 1;
  memset(&config, 0, sizeof(config));
  config.gridDimX = (unsigned)blocks;
  config.blockDimX = threads;
  config.gridDimY = config.gridDimZ = config.blockDimY = config.blockDimZ = 1;
  config.hStream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  return nsa_check_driver(
      cuLaunchKernelEx(&config, function, parameters, NULL), "cannot launch",
      message);
#else
  return nsa_launch(function, blocks, threads, stream, parameters, message);
#endif
}

#ifdef __cplusplus
}
#endif

#endif /* NSA_C_EMBED_H */
