/*===- main.c - A bundle through the C ABI ------------------------*- C -*-===*\
|*                                                                            *|
|* Part of the nsa project, under the Apache License v2.0 with LLVM           *|
|* Exceptions. See LICENSE for license information.                           *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
|*===----------------------------------------------------------------------===*|
|*                                                                            *|
|* What main.cpp does, for whoever has no exceptions or is no C++: every call *|
|* returns a status, nsa_last_error() says what was wrong.                    *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#include "nsa-c/runtime.h"

#include <stdio.h>

static nsa_array array_of(void *data, uint8_t bits, const int64_t *size) {
  nsa_array array = {0};
  array.data = data;
  array.device_type = NSA_DEVICE_CPU;
  array.dtype_code = NSA_DTYPE_INT;
  array.dtype_bits = bits;
  array.ndim = 1;
  array.shape = size;
  return array;
}

static int fail(const char *what) {
  printf("%s: %s\n", what, nsa_last_error());
  return 1;
}

int main(void) {
  int64_t lens[4] = {3, 1, 2, 70};
  int32_t first[4] = {0}, sums[5] = {0}, second[4] = {0};
  const int64_t requests = 4, sums_size = 5, too_few = 3, two = 2;
  nsa_array in = array_of(lens, 64, &requests);
  nsa_array out0 = array_of(first, 32, &requests);
  nsa_array cu = array_of(sums, 32, &sums_size);
  nsa_array out1 = array_of(second, 32, &too_few);
  nsa_argument arguments[] = {{"seq_lens", &in, 0},
                              {"b0_lens", &out0, 0},
                              {"b0_cu", &cu, 0},
                              {"b1_lens", &out1, 0}};
  nsa_bundle *bundle;
  nsa_binding *bound;
  const nsa_step *step;

  if (nsa_bundle_load(BUNDLE, &bundle) != NSA_OK)
    return fail("load");
  step = nsa_bundle_find(bundle, "lengths");
  if (nsa_step_launch(step, arguments, 4, NULL) == NSA_OK)
    return 1;
  printf("refused: %s\n", nsa_last_error());
  out1.shape = &requests;
  if (nsa_step_bind(step, arguments, 4, &bound) != NSA_OK)
    return fail("bind");
  if (nsa_binding_launch(bound, NULL, NULL) != NSA_OK)
    return fail("launch");
  printf("%s: sums %d %d %d %d %d\n", nsa_step_name(step), sums[0], sums[1],
         sums[2], sums[3], sums[4]);
  lens[0] = 10;
  if (nsa_binding_launch(bound, &two, NULL) != NSA_OK)
    return fail("launch");
  printf("%s: sums %d %d %d %d %d\n", nsa_step_name(step), sums[0], sums[1],
         sums[2], sums[3], sums[4]);
  nsa_binding_destroy(bound);
  nsa_bundle_destroy(bundle);
  return 0;
}
