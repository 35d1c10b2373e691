// What Python needs to import a library of kernels. The kernels register themselves with torch when it is loaded.
#include <Python.h>

#define HF_JOIN_(a, b) a##b
#define HF_JOIN(a, b) HF_JOIN_(a, b)
#define HF_STRING_(a) #a
#define HF_STRING(a) HF_STRING_(a)

// TORCH_EXTENSION_NAME is _C for the CPU library and _C_cuda for the CUDA one; cpp_extension defines it.
extern "C" PyMODINIT_FUNC HF_JOIN(PyInit_, TORCH_EXTENSION_NAME)(void) {
  static PyModuleDef definition = {PyModuleDef_HEAD_INIT, HF_STRING(TORCH_EXTENSION_NAME),
                                   nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr};
  return PyModule_Create(&definition);
}
