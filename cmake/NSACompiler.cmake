# Finds LLVM and MLIR, and defines how a library of the compiler is built.

option(NSA_STATIC_LLVM
  "Link LLVM and MLIR from archives into what is built, which then needs neither" OFF)
if(NSA_STATIC_LLVM AND SKBUILD)
  # PyPI's packages of both, where pip has put them.
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -c
      "from importlib.util import find_spec as f; \
print(*(f(name).submodule_search_locations[0] for name in ('mlir', 'llvm')), sep=';')"
    OUTPUT_VARIABLE _packages OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  list(PREPEND CMAKE_PREFIX_PATH ${_packages})
endif()

find_package(MLIR 22.1 REQUIRED CONFIG)
message(STATUS "nsa: MLIR ${LLVM_PACKAGE_VERSION} in ${MLIR_DIR}")

# Either the distribution's shared libMLIR and libLLVM or archives: both would
# give every dialect two type ids.
if(NSA_STATIC_LLVM)
  # By file: the packages' targets of archives name the shared LLVM as well.
  file(GLOB _archives "${MLIR_CMAKE_DIR}/../../libMLIR*.a"
    "${LLVM_LIBRARY_DIR}/libLLVM*.a")
  list(JOIN _archives "," _archives)
  find_package(Threads REQUIRED)
  set(_nsa_llvm "$<LINK_GROUP:RESCAN,${_archives}>" Threads::Threads
    ${CMAKE_DL_LIBS})
else()
  set(MLIR_LINK_MLIR_DYLIB ON)
  set(LLVM_LINK_LLVM_DYLIB ON)
  set(_nsa_llvm MLIR LLVM)
endif()

list(APPEND CMAKE_MODULE_PATH "${MLIR_CMAKE_DIR}" "${LLVM_CMAKE_DIR}")
# TableGen takes its include paths from the directory.
include_directories(${PROJECT_SOURCE_DIR}/include)
include_directories(SYSTEM ${MLIR_INCLUDE_DIRS})
include(TableGen)
include(AddLLVM)
include(AddMLIR)

# LLVM and MLIR are built without RTTI and exceptions; code that derives from
# their classes has to be built the same way.
add_library(nsa_compiler_flags INTERFACE)
target_include_directories(nsa_compiler_flags SYSTEM INTERFACE
  ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
target_include_directories(nsa_compiler_flags INTERFACE
  ${PROJECT_SOURCE_DIR}/include ${PROJECT_BINARY_DIR}/include)
target_compile_definitions(nsa_compiler_flags INTERFACE
  NSA_VERSION="${PROJECT_VERSION}" ${LLVM_DEFINITIONS_LIST})
target_compile_options(nsa_compiler_flags INTERFACE
  -fno-rtti -fno-exceptions -Wall -Wextra -Wno-unused-parameter
  -fvisibility-inlines-hidden)
target_link_libraries(nsa_compiler_flags INTERFACE ${_nsa_llvm})
if(NSA_STATIC_LLVM)
  # What is not used stays out, and what is used is seen by nobody else; but for
  # what sanitizers put in the place of the system's, as malloc.
  target_link_options(nsa_compiler_flags INTERFACE "LINKER:--gc-sections")
  if(NOT NSA_SANITIZE)
    target_link_options(nsa_compiler_flags INTERFACE "LINKER:--exclude-libs,ALL")
  endif()
endif()

# MLIR's headers, read once for all libraries.
add_library(nsa_precompiled OBJECT
  ${PROJECT_SOURCE_DIR}/lib/Precompiled.cpp)
target_link_libraries(nsa_precompiled PRIVATE nsa_compiler_flags)
target_precompile_headers(nsa_precompiled PRIVATE
  ${PROJECT_SOURCE_DIR}/lib/Precompiled.h)

# nsa_add_library(NAME sources... DEPENDS tablegen-targets... LINK libraries...)
#
# The sources of a room are all of its .cpp files; others are those that are made.
function(nsa_add_library name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;LINK" ${ARGN})
  file(GLOB _sources CONFIGURE_DEPENDS "*.cpp")
  add_library(${name} STATIC ${_sources} ${ARG_UNPARSED_ARGUMENTS})
  # The flags stay private: the Python extension links these libraries, and it
  # needs RTTI and exceptions.
  target_link_libraries(${name} PRIVATE nsa_compiler_flags PUBLIC ${ARG_LINK})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR}/include)
  target_precompile_headers(${name} REUSE_FROM nsa_precompiled)
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
endfunction()

# nsa_add_tool(NAME sources... LINK libraries...)
function(nsa_add_tool name)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE nsa_compiler_flags ${ARG_LINK})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tools)
endfunction()
