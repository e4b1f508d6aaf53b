# -DNSA_SANITIZE=address,undefined instruments our own code; LLVM's and MLIR's
# packaged libraries stay as they are.
set(NSA_SANITIZE "" CACHE STRING "Sanitizers for our own code, e.g. address,undefined")
# What a program that is linked with it is compiled with.
set(NSA_SANITIZE_FLAGS "")
if(NSA_SANITIZE)
  set(NSA_SANITIZE_FLAGS
    "-fsanitize=${NSA_SANITIZE} -fno-sanitize-recover=undefined")
  add_compile_options(-fsanitize=${NSA_SANITIZE} -fno-omit-frame-pointer -g1)
  add_link_options(-fsanitize=${NSA_SANITIZE})
  # Clang's check of a function's type reads what it has put before the code; before
  # that of kernels, which are compiled in process, there may be no memory at all.
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    add_compile_options(-fno-sanitize=function)
    # Python's extensions and the tools share the sanitizers' library, which tests
    # load before an interpreter that has none. GCC's is a shared one anyway.
    if(NSA_BUILD_PYTHON)
      add_link_options(-shared-libsan)
      execute_process(
        COMMAND "${CMAKE_CXX_COMPILER}" -print-file-name=libclang_rt.asan-x86_64.so
        OUTPUT_VARIABLE NSA_SANITIZER_LIBRARY OUTPUT_STRIP_TRAILING_WHITESPACE)
      get_filename_component(_nsa_sanitizer "${NSA_SANITIZER_LIBRARY}" DIRECTORY)
      list(APPEND CMAKE_BUILD_RPATH "${_nsa_sanitizer}")
      list(APPEND CMAKE_INSTALL_RPATH "${_nsa_sanitizer}")
      string(APPEND NSA_SANITIZE_FLAGS
        " -Qunused-arguments -shared-libsan -Wl,-rpath,${_nsa_sanitizer}")
    endif()
  endif()
endif()
