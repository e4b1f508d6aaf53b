/*===- runtime-c-test.c - The C ABI from C99 ----------------------*- C -*-===*\
|*                                                                            *|
|* Part of the nsa project, under the Apache License v2.0 with LLVM           *|
|* Exceptions. See LICENSE for license information.                           *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#include "nsa-c/plan.h"
#include "nsa-c/runtime.h"

#include <stdio.h>
#include <string.h>

static const char manifest[] =
    "{\"schema\": 1, \"step\": \"prefix\", \"arguments\": ["
    " {\"name\": \"n\", \"kind\": \"size\"},"
    " {\"name\": \"x\", \"kind\": \"in\", \"dtype\": \"int64\","
    "  \"shape\": [null], \"strides\": [null], \"extents\": [\"n\"]},"
    " {\"name\": \"y\", \"kind\": \"out\", \"dtype\": \"int32\","
    "  \"shape\": [null], \"strides\": [1]}],"
    " \"requires\": [{\"argument\": \"y\", \"dim\": 0,"
    "                 \"at_least\": [\"add\", \"n\", 1]}],"
    " \"kernels\": [{\"name\": \"prefix\", \"threads\": 32, \"parameters\": ["
    "  {\"field\": \"value\", \"argument\": \"n\"},"
    "  {\"field\": \"pointer\", \"argument\": \"x\"},"
    "  {\"field\": \"stride\", \"argument\": \"x\", \"dim\": 0},"
    "  {\"field\": \"pointer\", \"argument\": \"y\"}],"
    "  \"segments\": [{\"rows\": 1, \"columns\": 1, \"tile\": [1, 1]}]}]}";

/* y = 0, then the inclusive sums of x. */
static void prefix(void **parameters) {
  int64_t n = *(int64_t *)parameters[0];
  const int64_t *x = *(const int64_t **)parameters[1];
  int64_t stride = *(int64_t *)parameters[2];
  int32_t *y = *(int32_t **)parameters[3];
  int32_t sum = 0;
  y[0] = 0;
  for (int64_t i = 0; i < n; ++i) {
    sum += (int32_t)x[i * stride];
    y[i + 1] = sum;
  }
}

static int failures = 0;

#define EXPECT(condition)                                                      \
  do {                                                                         \
    if (!(condition)) {                                                        \
      fprintf(stderr, "%s:%d: %s; last error: %s\n", __FILE__, __LINE__,       \
              #condition, nsa_last_error());                                   \
      ++failures;                                                              \
    }                                                                          \
  } while (0)

int main(void) {
  nsa_host_kernel kernels[1];
  nsa_step *step = NULL;
  nsa_binding *binding = NULL;
  nsa_workspace workspace;
  nsa_argument_info info;
  int64_t x[8] = {1, -1, 2, -1, 3, -1, 4, -1};
  int32_t y[5] = {9, 9, 9, 9, 9};
  int64_t x_shape = 4, x_stride = 2, y_shape = 5, size;
  nsa_array arrays[2];
  nsa_argument arguments[2];

  EXPECT(strcmp(nsa_last_error(), "") == 0);
  EXPECT(strcmp(nsa_last_error_argument(), "") == 0);
  EXPECT(nsa_manifest_schema() == 1);

  kernels[0].name = "prefix";
  kernels[0].function = prefix;
  EXPECT(nsa_step_create("{", 1, NULL, 0, NULL, 0, &step) == NSA_MANIFEST);
  EXPECT(strstr(nsa_last_error(), "malformed JSON"));
  EXPECT(nsa_step_create(NULL, 0, NULL, 0, NULL, 0, &step) ==
         NSA_INVALID_ARGUMENT);
  EXPECT(nsa_step_create(manifest, strlen(manifest), NULL, 0, kernels, 1,
                         &step) == NSA_OK);
  if (!step)
    return 1;

  EXPECT(strcmp(nsa_step_name(step), "prefix") == 0);
  EXPECT(strcmp(nsa_step_manifest(step), manifest) == 0);
  EXPECT(strcmp(nsa_step_chip(step), "") == 0);
  EXPECT(nsa_step_image(step, NULL) == NULL);
  EXPECT(nsa_step_has_host_kernels(step) == 1);
  EXPECT(nsa_step_num_kernels(step) == 1);
  EXPECT(strcmp(nsa_step_kernel_name(step, 0), "prefix") == 0);
  EXPECT(nsa_step_kernel_name(step, 1) == NULL);
  EXPECT(nsa_step_num_arguments(step) == 3);
  EXPECT(nsa_step_argument(step, 2, &info) == NSA_OK);
  EXPECT(strcmp(info.name, "y") == 0 && info.kind == NSA_KIND_OUT &&
         strcmp(info.dtype, "int32") == 0 && info.ndim == 1);
  EXPECT(nsa_step_argument(step, 3, &info) == NSA_INVALID_ARGUMENT);
  EXPECT(nsa_step_num_sizes(step) == 1);
  EXPECT(strcmp(nsa_step_size_name(step, 0), "n") == 0);
  EXPECT(nsa_step_size_name(step, 1) == NULL);

  memset(arrays, 0, sizeof(arrays));
  arrays[0].data = x;
  arrays[0].device_type = NSA_DEVICE_CPU;
  arrays[0].dtype_code = NSA_DTYPE_INT;
  arrays[0].dtype_bits = 64;
  arrays[0].flags = NSA_ARRAY_READ_ONLY;
  arrays[0].ndim = 1;
  arrays[0].shape = &x_shape;
  arrays[0].strides = &x_stride;
  arrays[1] = arrays[0];
  arrays[1].data = y;
  arrays[1].dtype_bits = 32;
  arrays[1].flags = 0;
  arrays[1].shape = &y_shape;
  arrays[1].strides = NULL;
  memset(arguments, 0, sizeof(arguments));
  arguments[0].name = "x";
  arguments[0].array = &arrays[0];
  arguments[1].name = "y";
  arguments[1].array = &arrays[1];

  y_shape = 4;
  EXPECT(nsa_step_launch(step, arguments, 2, NULL) == NSA_INVALID_ARGUMENT);
  EXPECT(strcmp(nsa_last_error(), "argument 'y': expected shape[0] to be at "
                                  "least 5 (n + 1) but got 4") == 0);
  EXPECT(strcmp(nsa_last_error_argument(), "y") == 0);
  EXPECT(nsa_step_argument(step, 3, &info) == NSA_INVALID_ARGUMENT);
  EXPECT(strcmp(nsa_last_error_argument(), "") == 0);
  EXPECT(y[0] == 9);
  y_shape = 5;
  EXPECT(nsa_step_launch(step, arguments, 2, NULL) == NSA_OK);
  EXPECT(y[0] == 0 && y[1] == 1 && y[2] == 3 && y[3] == 6 && y[4] == 10);

  EXPECT(nsa_step_bind(step, arguments, 2, &binding) == NSA_OK);
  x[0] = 101;
  size = 2;
  EXPECT(nsa_binding_launch(binding, &size, NULL) == NSA_OK);
  EXPECT(y[0] == 0 && y[1] == 101 && y[2] == 103 && y[3] == 6);
  size = 5;
  EXPECT(nsa_binding_launch(binding, &size, NULL) == NSA_INVALID_ARGUMENT);
  nsa_binding_destroy(binding);
  nsa_binding_destroy(NULL);
  nsa_step_destroy(step);
  nsa_step_destroy(NULL);
  nsa_bundle_destroy(NULL);

  EXPECT(nsa_plan_workspace(2, 1024, 4, 100, &workspace) == NSA_OK);
  EXPECT(workspace.c_max == 256 && workspace.window_begin == 512 &&
         workspace.rows == 612);
  EXPECT(nsa_plan_workspace(2, 1024, 0, 100, &workspace) ==
         NSA_INVALID_ARGUMENT);
  EXPECT(strcmp(nsa_last_error_argument(), "ratio") == 0);

  EXPECT(strcmp(nsa_status_name(NSA_NO_DRIVER), "NSA_NO_DRIVER") == 0);
  EXPECT(strcmp(nsa_status_name((nsa_status)99), "unknown status") == 0);
  printf("%d failures\n", failures);
  return failures != 0;
}
