/* Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
 * See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * The Python module exchange_stub: tensor types with DLPack's exchange API, as
 * torch has it, so that calls with such tensors can be tried and counted where
 * torch is not. Tensor(address, device type, bits, shape); memory is whoever's.
 * The current stream is 7, and that of OtherTensor, as another library, 9. What
 * HandleTensor has is behind a handle, whose word is `_cdata`, and what torch's
 * API calls with it is here under its name.
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
  DLTensor *handle, *another;
  DLTensor tensor;
  int64_t shape[MOST], strides[MOST];
} Object;

static long exports, asked, handled, freed;
static int lies;

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
  managed->tensor = *((Object *)object)->handle;
  Py_INCREF((PyObject *)object);
  *out = managed;
  return 0;
}

static int tensor_from_object(void *object, DLTensor *out) {
  ++asked;
  *out = *((Object *)object)->handle;
  return 0;
}

__attribute__((visibility("default"))) void
_ZN2at17toDLPackNonOwningERKNS_6TensorEP8DLTensor(DLTensor *const *handle,
                                                  DLTensor *out) {
  ++handled;
  *out = **handle;
  out->ndim -= lies;
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
  object->handle = tensor;
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

static PyObject *get_handle(PyObject *self, void *closure) {
  (void)closure;
  return PyLong_FromVoidPtr(((Object *)self)->handle);
}

static PyObject *move(PyObject *self, PyObject *address) {
  ((Object *)self)->handle->data = PyLong_AsVoidPtr(address);
  return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyObject *swap(PyObject *self, PyObject *other) {
  DLTensor *handle = ((Object *)self)->handle;
  ((Object *)self)->handle = ((Object *)other)->handle;
  ((Object *)other)->handle = handle;
  Py_RETURN_NONE;
}

static PyObject *repeat_handle(PyObject *self, PyObject *args) {
  (void)args;
  ((Object *)self)->another = ((Object *)self)->handle;
  Py_RETURN_NONE;
}

static PyMethodDef handle_methods[] = {
    {"move", move, METH_O, "Has what is behind the handle at another address."},
    {"swap", swap, METH_O, "Swaps handles with another tensor."},
    {"repeat_handle", repeat_handle, METH_NOARGS, "Has its word twice."},
    {NULL, NULL, 0, NULL}};
static PyGetSetDef handle_properties[] = {
    {"_cdata", get_handle, NULL, "The word of the handle.", NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static void dealloc(PyObject *self) {
  PyTypeObject *type = Py_TYPE(self);
  ++freed;
  type->tp_free(self);
  Py_DECREF(type);
}

static PyType_Slot slots[] = {{Py_tp_init, init},
                              {Py_tp_new, PyType_GenericNew},
                              {0, NULL}},
                   handle_slots[] = {{Py_tp_init, init},
                                     {Py_tp_new, PyType_GenericNew},
                                     {Py_tp_dealloc, dealloc},
                                     {Py_tp_methods, handle_methods},
                                     {Py_tp_getset, handle_properties},
                                     {0, NULL}};
static PyType_Spec spec = {"exchange_stub.Tensor", sizeof(Object), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots},
                   handle_spec = {"exchange_stub.HandleTensor", sizeof(Object),
                                  0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                                  handle_slots};

static PyObject *count_exports(PyObject *self, PyObject *args) {
  (void)self, (void)args;
  return PyLong_FromLong(exports);
}
static PyObject *count_descriptions(PyObject *self, PyObject *args) {
  (void)self, (void)args;
  return Py_BuildValue("ll", asked, handled);
}
static PyObject *count_freed(PyObject *self, PyObject *args) {
  (void)self, (void)args;
  return PyLong_FromLong(freed);
}
static PyObject *set_lies(PyObject *self, PyObject *value) {
  (void)self;
  lies = PyObject_IsTrue(value);
  Py_RETURN_NONE;
}
static PyMethodDef methods[] = {
    {"exports", count_exports, METH_NOARGS, "How often a tensor was exported."},
    {"descriptions", count_descriptions, METH_NOARGS,
     "How often one was described by the API, and by its handle."},
    {"freed", count_freed, METH_NOARGS, "How many HandleTensors are gone."},
    {"lie", set_lies, METH_O, "Whether handles say something else."},
    {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "exchange_stub", NULL,
                                    -1, methods, NULL, NULL, NULL, NULL};

static int add_type(PyObject *made, const char *name, PyType_Spec *of_spec,
                    struct Api *of) {
  PyObject *type = PyType_FromSpec(of_spec);
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
  if (!made || add_type(made, "Tensor", &spec, &api) ||
      add_type(made, "OtherTensor", &spec, &other) ||
      add_type(made, "HandleTensor", &handle_spec, &api))
    return NULL;
  return made;
}
