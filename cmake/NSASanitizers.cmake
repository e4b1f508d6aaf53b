# -DNSA_SANITIZE=address,undefined instruments our own code; LLVM's and MLIR's
# packaged libraries stay as they are.
set(NSA_SANITIZE "" CACHE STRING "Sanitizers for our own code, e.g. address,undefined")
if(NSA_SANITIZE)
  add_compile_options(-fsanitize=${NSA_SANITIZE} -fno-omit-frame-pointer -g)
  add_link_options(-fsanitize=${NSA_SANITIZE})
endif()
