#include "verify.h" // written by nsa-compile

#include <stdexcept>

namespace engine {

nsa_view vector(void *data, int64_t size) { return {data, {size}, {1}}; }

nsa_view table(void *data, int64_t rows, int64_t columns, int64_t stride) {
  return {data, {rows, columns}, {stride, 1}};
}

class Verify {
public:
  // Loads the kernel into the current context, once; compiles nothing later.
  explicit Verify(const verify_args &arguments) : arguments(arguments) {
    if (verify_load(&kernel, &message) != NSA_OK)
      throw std::runtime_error(message.text);
  }

  // Checks the arguments and launches. May be captured in a CUDA graph.
  void operator()(int64_t bs, int64_t max_len, CUstream stream) {
    arguments.bs = bs;
    arguments.max_len = max_len;
    if (verify_launch(&kernel, &arguments, stream, &message) != NSA_OK)
      throw std::invalid_argument(message.text);
  }

private:
  verify_module kernel;
  verify_args arguments;
  nsa_message message;
};

} // namespace engine
