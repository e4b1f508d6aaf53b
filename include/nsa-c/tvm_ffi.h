/*===- nsa-c/tvm_ffi.h - A step as a function of tvm-ffi ----------*- C -*-===*\
|*                                                                            *|
|* Part of the nsa project, under the Apache License v2.0 with LLVM           *|
|* Exceptions. See LICENSE for license information.                           *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
|*===----------------------------------------------------------------------===*|
|*                                                                            *|
|* What the modules of `nsa-compile --emit=tvm-ffi` share: arguments of the   *|
|* tvm-ffi ABI become arrays that nsa-c/checks.h checks, and launches. They   *|
|* carry this file; nobody else needs it.                                     *|
|*                                                                            *|
|* A module is linked against nothing. The three functions of tvm-ffi that it *|
|* uses are those of the process that loads it, and the CUDA driver is looked *|
|* for when the first CUDA tensor comes.                                      *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#ifndef NSA_C_TVM_FFI_H
#define NSA_C_TVM_FFI_H

#ifndef NSA_C_CHECKS_H
#include "nsa-c/checks.h"
#endif

#include <dlfcn.h>
#include <pthread.h>

#ifdef __cplusplus
extern "C" {
#endif

/*===-- The ABI of tvm-ffi and of DLPack, as far as it is used ------------===*/

enum {
  NSA_FFI_NONE = 0,
  NSA_FFI_INT = 1,
  NSA_FFI_DLTENSOR = 7,
  NSA_FFI_TENSOR = 70,
  /* Of an object, before the tensor that it holds. */
  NSA_FFI_OBJECT_BYTES = 24
};

typedef struct nsa_ffi_any {
  int32_t type_index;
  uint32_t padding;
  union {
    int64_t v_int64;
    void *v_ptr;
  } value;
} nsa_ffi_any;

typedef struct nsa_ffi_bytes {
  const char *data;
  size_t size;
} nsa_ffi_bytes;

typedef struct nsa_ffi_tensor {
  void *data;
  int32_t device_type;
  int32_t device_id;
  int32_t ndim;
  uint8_t dtype_code;
  uint8_t dtype_bits;
  uint16_t lanes;
  const int64_t *shape;
  const int64_t *strides;
  uint64_t byte_offset;
} nsa_ffi_tensor;

extern void TVMFFIErrorSetRaisedFromCStr(const char *kind, const char *message);
extern void *TVMFFIEnvGetStream(int32_t device_type, int32_t device_id);
extern int TVMFFIStringFromByteArray(const nsa_ffi_bytes *bytes,
                                     nsa_ffi_any *result);

enum {
  NSA_FFI_CPU = 1,
  NSA_FFI_CUDA = 2,
  NSA_FFI_CUDA_HOST = 3,
  NSA_FFI_CUDA_MANAGED = 13
};

/*===-- What a module says about its step ---------------------------------===*/

#define NSA_FFI_MAX_DEVICES 64

/* A type of elements, and its name. */
typedef struct nsa_ffi_dtype {
  uint8_t code;
  uint8_t bits;
  const char *name;
} nsa_ffi_dtype;

typedef enum nsa_ffi_field {
  NSA_FFI_FIELD_VALUE = 0,   /* size argument number `place` */
  NSA_FFI_FIELD_POINTER = 1, /* of argument number `place` */
  NSA_FFI_FIELD_STRIDE = 2,
  NSA_FFI_FIELD_SIZE = 3,
  /* Which of `dim` arrays are there, a bit each: those whose places are in the
   * step's list `presence` from `place` on. */
  NSA_FFI_FIELD_PRESENCE = 4
} nsa_ffi_field;

typedef struct nsa_ffi_parameter {
  int32_t field; /* nsa_ffi_field */
  int32_t place;
  int32_t dim;
} nsa_ffi_parameter;

typedef struct nsa_ffi_kernel {
  unsigned threads;
  void (*host)(void **parameters);
  const nsa_ffi_parameter *parameters;
  size_t num_parameters;
} nsa_ffi_kernel;

typedef struct nsa_ffi_step {
  const nsa_signature *signature;
  const nsa_ffi_dtype *dtypes; /* of each argument; of sizes without meaning */
  const nsa_ffi_kernel *kernels;
  const int32_t *presence;
  const char *ptx;
  void **functions; /* num_kernels for each device */
  int32_t *is_loaded;
  int32_t is_dependent; /* its kernels wait for the one before them */
} nsa_ffi_step;

/* Room for a call, with an entry for each argument and so on. */
typedef struct nsa_ffi_room {
  nsa_strided *arrays;
  nsa_region *regions;
  int64_t *strides; /* NSA_MAX_RANK for each argument, for tensors without */
  int64_t *sizes;
  int64_t *blocks;
  void **parameters;
  uint64_t *presence; /* an entry for each parameter */
} nsa_ffi_room;

/*===-- The CUDA driver ---------------------------------------------------===*/

/* CUlaunchAttribute and CUlaunchConfig. */
typedef struct nsa_ffi_attribute {
  int32_t id;
  int32_t padding;
  union {
    int32_t number;
    char bytes[64];
  } value;
} nsa_ffi_attribute;

typedef struct nsa_ffi_config {
  unsigned grid[3];
  unsigned block[3];
  unsigned shared_bytes;
  void *stream;
  nsa_ffi_attribute *attributes;
  unsigned num_attributes;
} nsa_ffi_config;

typedef struct nsa_ffi_driver {
  int (*init)(unsigned);
  int (*device_get)(int *, int);
  int (*retain)(void **, int);
  int (*get_current)(void **);
  int (*push)(void *);
  int (*pop)(void **);
  int (*exchange)(int *);
  int (*load)(void **, const void *);
  int (*get_function)(void **, void *, const char *);
  int (*attribute)(int *, int, void *);
  int (*launch)(void *, unsigned, unsigned, unsigned, unsigned, unsigned,
                unsigned, unsigned, void *, void **, void **);
  int (*error)(int, const char **);
  /* Null in drivers before CUDA 11.8. */
  int (*launch_ex)(const nsa_ffi_config *, void *, void **, void **);
  int is_usable;
} nsa_ffi_driver;

static nsa_ffi_driver nsa_ffi_cuda;
static pthread_once_t nsa_ffi_once = PTHREAD_ONCE_INIT;
static pthread_mutex_t nsa_ffi_mutex = PTHREAD_MUTEX_INITIALIZER;

static void nsa_ffi_find_driver(void) {
  void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  int is_complete = library != NULL;
  struct {
    void *function;
    const char *name;
  } wanted[] = {{&nsa_ffi_cuda.init, "cuInit"},
                {&nsa_ffi_cuda.device_get, "cuDeviceGet"},
                {&nsa_ffi_cuda.retain, "cuDevicePrimaryCtxRetain"},
                {&nsa_ffi_cuda.get_current, "cuCtxGetCurrent"},
                {&nsa_ffi_cuda.push, "cuCtxPushCurrent_v2"},
                {&nsa_ffi_cuda.pop, "cuCtxPopCurrent_v2"},
                {&nsa_ffi_cuda.exchange, "cuThreadExchangeStreamCaptureMode"},
                {&nsa_ffi_cuda.load, "cuModuleLoadData"},
                {&nsa_ffi_cuda.get_function, "cuModuleGetFunction"},
                {&nsa_ffi_cuda.attribute, "cuFuncGetAttribute"},
                {&nsa_ffi_cuda.launch, "cuLaunchKernel"},
                {&nsa_ffi_cuda.error, "cuGetErrorString"}};
  size_t i;
  for (i = 0; is_complete && i < sizeof(wanted) / sizeof(*wanted); ++i) {
    void *found = dlsym(library, wanted[i].name);
    is_complete = found != NULL;
    memcpy(wanted[i].function, &found, sizeof(found));
  }
  if (is_complete) {
    void *found = dlsym(library, "cuLaunchKernelEx");
    memcpy(&nsa_ffi_cuda.launch_ex, &found, sizeof(found));
  }
  nsa_ffi_cuda.is_usable = is_complete && nsa_ffi_cuda.init(0) == 0;
}

static nsa_status nsa_ffi_check_driver(int result, const char *what,
                                       nsa_message *message) {
  const char *text = NULL;
  if (result == 0)
    return NSA_OK;
  nsa_ffi_cuda.error(result, &text);
  nsa_fail(message);
  nsa_say(message, "%s: %s", what, text ? text : "unknown error");
  return NSA_DRIVER;
}

/* Loads the kernels in the current context. Every kernel at once, as CUDA may
 * load lazily what is first launched, which might be during a capture. */
static nsa_status nsa_ffi_load_module(const nsa_ffi_step *step,
                                      void **functions, nsa_message *message) {
  const nsa_signature *signature = step->signature;
  void *module;
  int registers;
  size_t i;
  nsa_status status =
      nsa_ffi_check_driver(nsa_ffi_cuda.load(&module, step->ptx),
                           "cannot load the kernels", message);
  for (i = 0; i < signature->num_kernels && status == NSA_OK; ++i) {
    status = nsa_ffi_check_driver(
        nsa_ffi_cuda.get_function(&functions[i], module,
                                  signature->kernels[i].name),
        "cannot find a kernel", message);
    if (status == NSA_OK)
      status = nsa_ffi_check_driver(
          nsa_ffi_cuda.attribute(&registers, /*NUM_REGS=*/4, functions[i]),
          "cannot load a kernel", message);
  }
  return status;
}

/* The kernels on a device, loaded by the first call; leaves its context, which
 * is to be popped, current if it was not. */
static nsa_status nsa_ffi_enter(const nsa_ffi_step *step, int32_t device,
                                void ***functions, int *is_pushed,
                                nsa_message *message) {
  void *context = NULL, *current = NULL;
  int ordinal, mode = 2; /* relaxed: loading is legal during a capture */
  nsa_status status;
  static void *contexts[NSA_FFI_MAX_DEVICES];
  *is_pushed = 0;
  if (device < 0 || device >= NSA_FFI_MAX_DEVICES) {
    nsa_fail(message);
    nsa_say(message, "expected a device from 0 to %d but got %d",
            NSA_FFI_MAX_DEVICES - 1, (int)device);
    return NSA_NO_DEVICE;
  }
  *functions = step->functions + device * step->signature->num_kernels;
  if (!__atomic_load_n(&step->is_loaded[device], __ATOMIC_ACQUIRE)) {
    pthread_once(&nsa_ffi_once, nsa_ffi_find_driver);
    if (!nsa_ffi_cuda.is_usable) {
      nsa_fail(message);
      nsa_say(message, "no CUDA driver (libcuda.so.1) for CUDA tensors");
      return NSA_NO_DRIVER;
    }
    pthread_mutex_lock(&nsa_ffi_mutex);
    status = nsa_ffi_check_driver(nsa_ffi_cuda.device_get(&ordinal, device),
                                  "cannot find the device", message);
    if (status == NSA_OK && !contexts[device])
      status =
          nsa_ffi_check_driver(nsa_ffi_cuda.retain(&contexts[device], ordinal),
                               "cannot use the device", message);
    if (status == NSA_OK && !step->is_loaded[device]) {
      nsa_ffi_cuda.push(contexts[device]);
      nsa_ffi_cuda.exchange(&mode);
      status = nsa_ffi_load_module(step, *functions, message);
      nsa_ffi_cuda.exchange(&mode);
      nsa_ffi_cuda.pop(&current);
      if (status == NSA_OK)
        __atomic_store_n(&step->is_loaded[device], 1, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&nsa_ffi_mutex);
    if (status != NSA_OK)
      return status;
  }
  context = contexts[device];
  nsa_ffi_cuda.get_current(&current);
  if (current != context) {
    nsa_ffi_cuda.push(context);
    *is_pushed = 1;
  }
  return NSA_OK;
}

/*===-- Calls -------------------------------------------------------------===*/

/* What docs/Bundle.md has of dtypes: bytes stand for all of 8 bits, and the
 * three of 16 bits that hold the same for each other. */
static int nsa_ffi_accepts(const nsa_ffi_dtype *expected,
                           const nsa_ffi_tensor *tensor) {
  enum { INT = 0, UINT = 1, BFLOAT = 4, BOOL = 6 };
  int is_storage = tensor->dtype_code == INT || tensor->dtype_code == UINT ||
                   tensor->dtype_code == BFLOAT;
  if (tensor->lanes != 1 || tensor->dtype_bits != expected->bits)
    return 0;
  if (tensor->dtype_code == expected->code)
    return 1;
  if (expected->code == INT && expected->bits == 8)
    return tensor->dtype_code != BOOL;
  return expected->bits == 16 && is_storage &&
         (expected->code == INT || expected->code == UINT ||
          expected->code == BFLOAT);
}

static void nsa_ffi_say_dtype(nsa_message *message,
                              const nsa_ffi_dtype *expected,
                              const nsa_ffi_tensor *tensor) {
  static const char *const kinds[] = {"int", "uint", "float", 0, "bfloat"};
  const unsigned code = tensor->dtype_code, bits = tensor->dtype_bits;
  if (tensor->lanes == 1 && code < 5 && kinds[code])
    nsa_say(message, "expected dtype %s but got %s%u", expected->name,
            kinds[code], bits);
  else
    nsa_say(message, "expected dtype %s but got code %u, %u bits, %u lanes",
            expected->name, code, bits, (unsigned)tensor->lanes);
}

/* Null if it is no tensor. */
static inline const nsa_ffi_tensor *
nsa_ffi_tensor_of(const nsa_ffi_any *given) {
  const char *object = (const char *)given->value.v_ptr;
  if (given->type_index == NSA_FFI_TENSOR)
    return (const nsa_ffi_tensor *)(object + NSA_FFI_OBJECT_BYTES);
  return given->type_index == NSA_FFI_DLTENSOR ? (const nsa_ffi_tensor *)object
                                               : NULL;
}

/* The address of its first element. */
NSA_STRAIGHT uint64_t nsa_ffi_base(const nsa_ffi_tensor *tensor) {
  return (uint64_t)(uintptr_t)tensor->data + tensor->byte_offset;
}

static const char *nsa_ffi_device_name(int32_t type) {
  return type == NSA_FFI_CPU ? "cpu" : "cuda";
}

/* An argument that is a tensor; the first says for all which device. */
static nsa_status nsa_ffi_take_tensor(const nsa_ffi_step *step, size_t place,
                                      const nsa_ffi_any *given,
                                      const nsa_ffi_room *room,
                                      int32_t *device_type, int32_t *device_id,
                                      nsa_message *message) {
  const nsa_port *port = &step->signature->ports[place];
  const nsa_ffi_dtype *dtype = &step->dtypes[place];
  const nsa_ffi_tensor *tensor = nsa_ffi_tensor_of(given);
  nsa_strided *array = &room->arrays[place];
  int64_t *strides = room->strides + place * NSA_MAX_RANK, stride = 1;
  int32_t type, id, i;
  if (port->is_optional && given->type_index == NSA_FFI_NONE) {
    for (i = 0; i < port->ndim; ++i)
      strides[i] = 0;
    array->base = 0;
    array->item_size = port->item_size;
    array->ndim = port->ndim;
    array->shape = array->strides = strides;
    return nsa_check_array(port, array, &room->regions[place], message);
  }
  if (!tensor) {
    nsa_fail_argument(message, port->name);
    nsa_say(message, "expected a %d-d %s tensor but got another type",
            (int)port->ndim, dtype->name);
    return NSA_TYPE;
  }
  if (!nsa_ffi_accepts(dtype, tensor)) {
    nsa_fail_argument(message, port->name);
    nsa_ffi_say_dtype(message, dtype, tensor);
    return NSA_TYPE;
  }
  if (tensor->ndim != port->ndim) {
    nsa_fail_argument(message, port->name);
    nsa_say(message, "expected %d dimension%s but got %d", (int)port->ndim,
            port->ndim == 1 ? "" : "s", (int)tensor->ndim);
    return NSA_INVALID_ARGUMENT;
  }
  type = tensor->device_type == NSA_FFI_CUDA_HOST      ? NSA_FFI_CPU
         : tensor->device_type == NSA_FFI_CUDA_MANAGED ? NSA_FFI_CUDA
                                                       : tensor->device_type;
  id = type == NSA_FFI_CPU ? 0 : tensor->device_id;
  if (type != NSA_FFI_CPU && type != NSA_FFI_CUDA) {
    nsa_fail_argument(message, port->name);
    nsa_say(message,
            "expected a tensor on a cpu or cuda device but got one on DLPack "
            "device type %d",
            (int)type);
    return NSA_INVALID_ARGUMENT;
  }
  if (*device_type == 0) {
    *device_type = type;
    *device_id = id;
  } else if (type != *device_type || id != *device_id) {
    nsa_fail_argument(message, port->name);
    nsa_say(message, "expected a tensor on %s:%d but got one on %s:%d",
            nsa_ffi_device_name(*device_type), (int)*device_id,
            nsa_ffi_device_name(type), (int)id);
    return NSA_INVALID_ARGUMENT;
  }
  for (i = port->ndim - 1; i >= 0 && !tensor->strides; --i) {
    strides[i] = stride;
    stride = (int64_t)((uint64_t)stride * (uint64_t)tensor->shape[i]);
  }
  array->base = nsa_ffi_base(tensor);
  array->item_size = port->item_size;
  array->ndim = port->ndim;
  array->shape = tensor->shape;
  array->strides = tensor->strides ? tensor->strides : strides;
  return nsa_check_array(port, array, &room->regions[place], message);
}

static nsa_status nsa_ffi_take_size(const nsa_port *port,
                                    const nsa_ffi_any *given, int64_t *size,
                                    nsa_message *message) {
  if (given->type_index == NSA_FFI_NONE) {
    *size = NSA_SIZE_UNSET;
    return NSA_OK;
  }
  if (given->type_index != NSA_FFI_INT) {
    nsa_fail_argument(message, port->name);
    nsa_say(message, "expected an integer or None but got another type");
    return NSA_TYPE;
  }
  *size = given->value.v_int64;
  /* Checked here, as one number stands for none. */
  return nsa_check_size(port, *size, message);
}

static nsa_status nsa_ffi_take(const nsa_ffi_step *step,
                               const nsa_ffi_any *args, int32_t num_args,
                               const nsa_ffi_room *room, int32_t *device_type,
                               int32_t *device_id, nsa_message *message) {
  const nsa_signature *signature = step->signature;
  nsa_status status = NSA_OK;
  size_t i;
  if ((size_t)num_args != signature->num_ports) {
    nsa_fail(message);
    nsa_say(message, "step '%s': expected %d arguments (", signature->step,
            (int)signature->num_ports);
    for (i = 0; i < signature->num_ports; ++i)
      nsa_say(message, "%s%s", i ? ", " : "", signature->ports[i].name);
    nsa_say(message, ") but got %d", (int)num_args);
    return NSA_TYPE;
  }
  for (i = 0; i < signature->num_ports && status == NSA_OK; ++i) {
    const nsa_port *port = &signature->ports[i];
    if (port->kind == NSA_KIND_SIZE)
      status = nsa_ffi_take_size(port, &args[i], &room->sizes[port->size_index],
                                 message);
    else
      status = nsa_ffi_take_tensor(step, i, &args[i], room, device_type,
                                   device_id, message);
  }
  if (status == NSA_OK)
    status = nsa_check_launch(signature, room->arrays, room->regions,
                              room->sizes, room->blocks, message);
  return status;
}

/* The addresses of a kernel's parameters. */
static void nsa_ffi_point(const nsa_ffi_step *step,
                          const nsa_ffi_kernel *kernel,
                          const nsa_ffi_room *room) {
  size_t i;
  int32_t bit;
  for (i = 0; i < kernel->num_parameters; ++i) {
    const nsa_ffi_parameter *parameter = &kernel->parameters[i];
    const nsa_strided *array = &room->arrays[parameter->place];
    const void *at = &room->sizes[parameter->place];
    if (parameter->field == NSA_FFI_FIELD_POINTER) {
      at = &array->base;
    } else if (parameter->field == NSA_FFI_FIELD_STRIDE) {
      at = &array->strides[parameter->dim];
    } else if (parameter->field == NSA_FFI_FIELD_SIZE) {
      at = &array->shape[parameter->dim];
    } else if (parameter->field == NSA_FFI_FIELD_PRESENCE) {
      room->presence[i] = 0;
      for (bit = 0; bit < parameter->dim; ++bit) {
        int32_t place = step->presence[parameter->place + bit];
        room->presence[i] |= (uint64_t)(room->arrays[place].base != 0) << bit;
      }
      at = &room->presence[i];
    }
    room->parameters[i] = (void *)(uintptr_t)at;
  }
}

/* Launches a grid. One of a dependent step may begin before the grid before it
 * in the stream has ended, as it waits for that by itself. */
static int nsa_ffi_launch(const nsa_ffi_step *step, void *function,
                          unsigned blocks, unsigned threads, void *stream,
                          void **parameters, void **extra) {
  nsa_ffi_attribute attribute;
  nsa_ffi_config config;
  if (!step->is_dependent || !nsa_ffi_cuda.launch_ex)
    return nsa_ffi_cuda.launch(function, blocks, 1, 1, threads, 1, 1, 0, stream,
                               parameters, extra);
  memset(&attribute, 0, sizeof(attribute));
  attribute.id = 6; /* PROGRAMMATIC_STREAM_SERIALIZATION */
  attribute.value.number = 1;
  memset(&config, 0, sizeof(config));
  config.grid[0] = blocks;
  config.block[0] = threads;
  config.grid[1] = config.grid[2] = config.block[1] = config.block[2] = 1;
  config.stream = stream;
  config.attributes = &attribute;
  config.num_attributes = 1;
  return nsa_ffi_cuda.launch_ex(&config, function, parameters, extra);
}

/* Where a call launches. */
typedef struct nsa_ffi_place {
  const nsa_ffi_step *step;
  void **functions; /* null on the host */
  void *stream;
  int is_pushed;
} nsa_ffi_place;

static nsa_status nsa_ffi_begin(const nsa_ffi_step *step, int32_t device_type,
                                int32_t device_id, nsa_ffi_place *at,
                                nsa_message *message) {
  nsa_status status = NSA_OK;
  at->step = step;
  at->functions = NULL;
  at->is_pushed = 0;
  if (device_type == NSA_FFI_CUDA) {
    status =
        nsa_ffi_enter(step, device_id, &at->functions, &at->is_pushed, message);
    if (status == NSA_OK)
      at->stream = TVMFFIEnvGetStream(NSA_FFI_CUDA, device_id);
  }
  return status;
}

static nsa_status nsa_ffi_launch_kernel(const nsa_ffi_place *at, size_t number,
                                        int64_t blocks, void **parameters,
                                        nsa_message *message) {
  const nsa_ffi_kernel *kernel = &at->step->kernels[number];
  if (at->functions)
    return nsa_ffi_check_driver(
        nsa_ffi_launch(at->step, at->functions[number], (unsigned)blocks,
                       kernel->threads, at->stream, parameters, NULL),
        "cannot launch", message);
  kernel->host(parameters);
  return NSA_OK;
}

static void nsa_ffi_end(const nsa_ffi_place *at) {
  void *popped;
  if (at->is_pushed)
    nsa_ffi_cuda.pop(&popped);
}

static nsa_status nsa_ffi_run(const nsa_ffi_step *step,
                              const nsa_ffi_room *room, int32_t device_type,
                              int32_t device_id, nsa_message *message) {
  nsa_ffi_place at;
  nsa_status status = nsa_ffi_begin(step, device_type, device_id, &at, message);
  size_t i;
  for (i = 0; i < step->signature->num_kernels && status == NSA_OK; ++i) {
    if (room->blocks[i] == 0)
      continue;
    nsa_ffi_point(step, &step->kernels[i], room);
    status = nsa_ffi_launch_kernel(&at, i, room->blocks[i], room->parameters,
                                   message);
  }
  nsa_ffi_end(&at);
  return status;
}

/* What a call returns: None, or an exception. */
static int nsa_ffi_return(nsa_status status, const nsa_message *message,
                          nsa_ffi_any *result) {
  const char *kind = status == NSA_OK                 ? NULL
                     : status == NSA_INVALID_ARGUMENT ? "ValueError"
                     : status == NSA_TYPE             ? "TypeError"
                                                      : "RuntimeError";
  memset(result, 0, sizeof(*result));
  if (!kind)
    return 0;
  TVMFFIErrorSetRaisedFromCStr(kind, message->text);
  return -1;
}

/* The step as a function: its arguments in the order of the manifest, a size
 * that is None is that of the dimensions that name it. */
static nsa_status nsa_ffi_call(const nsa_ffi_step *step,
                               const nsa_ffi_room *room,
                               const nsa_ffi_any *args, int32_t num_args,
                               nsa_message *message) {
  int32_t device_type = 0, device_id = 0;
  nsa_status status = nsa_ffi_take(step, args, num_args, room, &device_type,
                                   &device_id, message);
  if (status == NSA_OK)
    status = nsa_ffi_run(step, room, device_type, device_id, message);
  return status;
}

/*===-- The same, as straight code ----------------------------------------===*/

/* Like the end of nsa-c/checks.h: what a generated function asks of the
 * tensors before it looks at shapes. What is odd is for nsa_ffi_call. */

typedef struct nsa_ffi_view {
  const nsa_ffi_tensor *tensor;
  uint64_t base;
} nsa_ffi_view;

/* In the place of an optional tensor that is not there. */
static const int64_t nsa_ffi_zeros[NSA_MAX_RANK] = {0};
static const nsa_ffi_tensor nsa_ffi_missing = {
    NULL, 0, 0, 0, 0, 0, 0, nsa_ffi_zeros, nsa_ffi_zeros, 0};

static inline const nsa_ffi_tensor *
nsa_ffi_optional_of(const nsa_ffi_any *given) {
  return given->type_index == NSA_FFI_NONE ? &nsa_ffi_missing
                                           : nsa_ffi_tensor_of(given);
}

/* Bits that are 0 for a tensor of that rank and type of elements, with strides,
 * on the device of the first one. */
NSA_STRAIGHT uint64_t nsa_ffi_odd(const nsa_ffi_tensor *tensor,
                                  const nsa_ffi_tensor *first, int32_t ndim,
                                  const nsa_ffi_dtype *dtype) {
  /* Eight bytes at a time: device_type and device_id, ndim to lanes. */
  uint64_t device, first_device, type, wanted;
  nsa_ffi_tensor like;
  like.ndim = ndim;
  like.dtype_code = dtype->code;
  like.dtype_bits = dtype->bits;
  like.lanes = 1;
  memcpy(&device, &tensor->device_type, 8);
  memcpy(&first_device, &first->device_type, 8);
  memcpy(&type, &tensor->ndim, 8);
  memcpy(&wanted, &like.ndim, 8);
  return (device ^ first_device) | (type ^ wanted) | (tensor->strides == NULL);
}

/* The same for one that may be missing. */
NSA_STRAIGHT uint64_t nsa_ffi_optional_odd(const nsa_ffi_tensor *tensor,
                                           const nsa_ffi_tensor *first,
                                           int32_t ndim,
                                           const nsa_ffi_dtype *dtype) {
  return tensor == &nsa_ffi_missing ? 0
                                    : nsa_ffi_odd(tensor, first, ndim, dtype);
}

/* Of the first tensor: 0 on the host and on CUDA devices. */
NSA_STRAIGHT uint64_t nsa_ffi_odd_device(const nsa_ffi_tensor *first) {
  return first->device_type != NSA_FFI_CPU &&
         first->device_type != NSA_FFI_CUDA;
}

/* Launches with parameters in one buffer, which the driver takes faster than
 * the addresses of each; `pointers` is room for these, which host kernels
 * take. */
static inline nsa_status nsa_ffi_launch_words(const nsa_ffi_place *at,
                                              size_t number, int64_t blocks,
                                              uint64_t *words, void **pointers,
                                              size_t count,
                                              nsa_message *message) {
  const nsa_ffi_kernel *kernel = &at->step->kernels[number];
  size_t bytes = count * sizeof(*words), i;
  if (at->functions) {
    void *extra[5]; /* CU_LAUNCH_PARAM_BUFFER_POINTER, _SIZE and _END */
    extra[0] = (void *)(uintptr_t)1;
    extra[1] = words;
    extra[2] = (void *)(uintptr_t)2;
    extra[3] = &bytes;
    extra[4] = NULL;
    return nsa_ffi_check_driver(
        nsa_ffi_launch(at->step, at->functions[number], (unsigned)blocks,
                       kernel->threads, at->stream, NULL, extra),
        "cannot launch", message);
  }
  for (i = 0; i < count; ++i)
    pointers[i] = &words[i];
  kernel->host(pointers);
  return NSA_OK;
}

/* NAME_load(device): loads the kernels ahead of the first call. */
static inline int nsa_ffi_load(const nsa_ffi_step *step,
                               const nsa_ffi_any *args, int32_t num_args,
                               nsa_ffi_any *result) {
  nsa_message message;
  nsa_status status = NSA_TYPE;
  void **functions, *popped;
  int is_pushed = 0;
  if (num_args == 1 && args[0].type_index == NSA_FFI_INT) {
    status = nsa_ffi_enter(step, (int32_t)args[0].value.v_int64, &functions,
                           &is_pushed, &message);
    if (is_pushed)
      nsa_ffi_cuda.pop(&popped);
  } else {
    nsa_fail(&message);
    nsa_say(&message, "expected the number of a CUDA device");
  }
  return nsa_ffi_return(status, &message, result);
}

/* A string. */
static inline int nsa_ffi_return_text(const char *text, nsa_ffi_any *result) {
  nsa_ffi_bytes bytes;
  bytes.data = text;
  bytes.size = strlen(text);
  return TVMFFIStringFromByteArray(&bytes, result);
}

#ifdef __cplusplus
}
#endif

#endif /* NSA_C_TVM_FFI_H */
