/* Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * A module of tvm-ffi with a function that does nothing: what a call costs before any module sees
 * its arguments.
 */

#include <stdint.h>
#include <string.h>

__attribute__((visibility("default"))) int __tvm_ffi_noop(void *self, const void *args,
                                                          int32_t num_args, void *result) {
  (void)self, (void)args, (void)num_args;
  memset(result, 0, 16); /* None */
  return 0;
}
