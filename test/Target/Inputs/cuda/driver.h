/* Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
   See LICENSE for license information.
   SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

   A driver that only says what it is asked for, for one file that includes a
   generated header. Nothing is dereferenced, so addresses may be made up. */

#ifndef NSA_TEST_CUDA_DRIVER_H
#define NSA_TEST_CUDA_DRIVER_H

static int driver_fails = 0;
static int64_t shown_parameters = 0; /* how many of them to print */

CUresult cuGetErrorString(CUresult error, const char **text) {
  *text = error == CUDA_ERROR_INVALID_VALUE ? "invalid argument" : NULL;
  return CUDA_SUCCESS;
}

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
  printf("load: %.2s\n", (const char *)image);
  *module = (CUmodule)(uintptr_t)0x10;
  return driver_fails ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module,
                             const char *name) {
  printf("function: %s of module %p\n", name, (void *)module);
  *function = (CUfunction)(uintptr_t)0x20;
  return CUDA_SUCCESS;
}

CUresult cuLaunchKernel(CUfunction function, unsigned int x, unsigned int y,
                        unsigned int z, unsigned int block_x,
                        unsigned int block_y, unsigned int block_z,
                        unsigned int shared, CUstream stream, void **params,
                        void **extra) {
  int64_t i;
  printf("launch: function %p grid %u %u %u block %u %u %u shared %u stream %p "
         "extra %p\nparameters:",
         (void *)function, x, y, z, block_x, block_y, block_z, shared,
         (void *)stream, (void *)extra);
  for (i = 0; i < shown_parameters; ++i)
    printf(" %llx", *(unsigned long long *)params[i]);
  printf("\n");
  return driver_fails ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function,
                          void **params, void **extra) {
  unsigned i;
  for (i = 0; i < config->numAttrs; ++i)
    printf("attribute %d: %d\n", (int)config->attrs[i].id,
           config->attrs[i].value.programmaticStreamSerializationAllowed);
  return cuLaunchKernel(function, config->gridDimX, config->gridDimY,
                        config->gridDimZ, config->blockDimX, config->blockDimY,
                        config->blockDimZ, config->sharedMemBytes,
                        config->hStream, params, extra);
}

#endif /* NSA_TEST_CUDA_DRIVER_H */
