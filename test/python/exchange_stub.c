/* Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * The Python module exchange_stub: tensor types with DLPack's exchange API, as
 * torch has it, so that calls with such tensors can be tried and counted where
 * torch is not. Tensor(address, device type, bits, shape); memory is whoever's.
 * The current stream is 7, and that of OtherTensor, as another library, 9.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>

enum { MOST = 8 };

typedef struct {
  void *data;
  int32_t device_type, device_id, ndim;
  uint8_t code, bits;
  uint16_t lanes;
  int64_t *shape, *strides;
  uint64_t byte_offset;
} DLTensor;

typedef struct Managed {
  uint32_t major, minor;
  void *context;
  void (*deleter)(struct Managed *);
  uint64_t flags;
  DLTensor tensor;
} Managed;

typedef struct {
  PyObject_HEAD
  DLTensor tensor;
  int64_t shape[MOST], strides[MOST];
} Object;

static long exports;

static void release(Managed *managed) {
  Py_DECREF((PyObject *)managed->context);
  PyMem_Free(managed);
}

static int from_object(void *object, Managed **out) {
  Managed *managed = PyMem_Malloc(sizeof(Managed));
  ++exports;
  managed->major = 1;
  managed->minor = 1;
  managed->context = object;
  managed->deleter = release;
  managed->flags = 0;
  managed->tensor = ((Object *)object)->tensor;
  Py_INCREF((PyObject *)object);
  *out = managed;
  return 0;
}

static int tensor_from_object(void *object, DLTensor *out) {
  *out = ((Object *)object)->tensor;
  return 0;
}

static int current_stream(int32_t type, int32_t id, void **stream) {
  (void)type, (void)id;
  *stream = (void *)7;
  return 0;
}

static int other_stream(int32_t type, int32_t id, void **stream) {
  (void)type, (void)id;
  *stream = (void *)9;
  return 0;
}

static struct Api {
  uint32_t major, minor;
  void *previous, *allocate;
  int (*from_object)(void *, Managed **);
  void *to_object;
  int (*tensor_from_object)(void *, DLTensor *);
  int (*current_stream)(int32_t, int32_t, void **);
} api = {1, 3, NULL, NULL, from_object, NULL, tensor_from_object, current_stream},
  other = {1, 3, NULL, NULL, from_object, NULL, tensor_from_object, other_stream};

static int init(PyObject *self, PyObject *args, PyObject *kwargs) {
  Object *object = (Object *)self;
  DLTensor *tensor = &object->tensor;
  unsigned long long address;
  int type, bits, i;
  int64_t stride = 1;
  PyObject *shape;
  (void)kwargs;
  if (!PyArg_ParseTuple(args, "KiiO!", &address, &type, &bits, &PyTuple_Type,
                        &shape))
    return -1;
  tensor->data = (void *)(uintptr_t)address;
  tensor->device_type = type;
  tensor->bits = (uint8_t)bits;
  tensor->lanes = 1;
  tensor->ndim = (int32_t)PyTuple_GET_SIZE(shape);
  tensor->shape = object->shape;
  tensor->strides = object->strides;
  if (tensor->ndim > MOST) {
    PyErr_SetString(PyExc_ValueError, "too many dimensions");
    return -1;
  }
  for (i = tensor->ndim - 1; i >= 0; --i) {
    object->shape[i] = PyLong_AsLongLong(PyTuple_GET_ITEM(shape, i));
    object->strides[i] = stride;
    stride *= object->shape[i];
  }
  return PyErr_Occurred() ? -1 : 0;
}

static PyType_Slot slots[] = {{Py_tp_init, init},
                              {Py_tp_new, PyType_GenericNew},
                              {0, NULL}};
static PyType_Spec spec = {"exchange_stub.Tensor", sizeof(Object), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};

static PyObject *count_exports(PyObject *self, PyObject *args) {
  (void)self, (void)args;
  return PyLong_FromLong(exports);
}
static PyMethodDef methods[] = {
    {"exports", count_exports, METH_NOARGS, "How often a tensor was exported."},
    {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "exchange_stub", NULL,
                                    -1, methods, NULL, NULL, NULL, NULL};

static int add_type(PyObject *made, const char *name, struct Api *of) {
  PyObject *type = PyType_FromSpec(&spec);
  PyObject *capsule = PyCapsule_New(of, "dlpack_exchange_api", NULL);
  if (!type || !capsule ||
      PyObject_SetAttrString(type, "__dlpack_c_exchange_api__", capsule) ||
      PyModule_AddObject(made, name, type))
    return -1;
  Py_DECREF(capsule);
  return 0;
}

PyMODINIT_FUNC PyInit_exchange_stub(void) {
  PyObject *made = PyModule_Create(&module);
  if (!made || add_type(made, "Tensor", &api) ||
      add_type(made, "OtherTensor", &other))
    return NULL;
  return made;
}
