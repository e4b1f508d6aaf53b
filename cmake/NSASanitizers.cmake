# -DNSA_SANITIZE=address,undefined instruments our own code; LLVM's and MLIR's
# packaged libraries stay as they are.
set(NSA_SANITIZE "" CACHE STRING "Sanitizers for our own code, e.g. address,undefined")
if(NSA_SANITIZE)
  add_compile_options(-fsanitize=${NSA_SANITIZE} -fno-omit-frame-pointer -g)
  add_link_options(-fsanitize=${NSA_SANITIZE})
  # Clang's check of a function's type reads what it has put before the code; before
  # that of kernels, which are compiled in process, there may be no memory at all.
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    add_compile_options(-fno-sanitize=function)
  endif()
endif()
