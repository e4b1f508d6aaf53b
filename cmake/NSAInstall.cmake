# Installs the tools, the runtime and its headers, the licence, and a package for
# find_package(NSA) (the Python package and its bundles:
# python-bindings/CMakeLists.txt), which also works from the build tree
# (NSA_DIR=<build>).

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS NSARuntime EXPORT NSATargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY include/nsa-c DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY include/nsa/Runtime DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/nsa)
if(NSA_BUILD_COMPILER)
  set_target_properties(nsa-compile PROPERTIES EXPORT_NAME compile)
  # LLVM's folder of libraries is none that the loader looks into.
  set_target_properties(nsa-compile nsa-opt nsa-lsp-server PROPERTIES
    INSTALL_RPATH_USE_LINK_PATH ON)
  install(TARGETS nsa-compile EXPORT NSATargets
    RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(TARGETS nsa-opt nsa-lsp-server RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

set(_package ${CMAKE_INSTALL_LIBDIR}/cmake/NSA)
install(EXPORT NSATargets NAMESPACE nsa:: DESTINATION ${_package})
export(EXPORT NSATargets NAMESPACE nsa:: FILE ${PROJECT_BINARY_DIR}/NSATargets.cmake)
set(NSA_CONFIG_BUNDLES "${NSA_INSTALL_PYTHONDIR}/nsa/bundles")
configure_package_config_file(cmake/NSAConfig.cmake.in
  ${PROJECT_BINARY_DIR}/NSAConfig.cmake INSTALL_DESTINATION ${_package}
  PATH_VARS NSA_CONFIG_BUNDLES)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/NSAConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
configure_file(cmake/NSAAddKernels.cmake
  ${PROJECT_BINARY_DIR}/NSAAddKernels.cmake COPYONLY)
install(FILES ${PROJECT_BINARY_DIR}/NSAConfig.cmake
  ${PROJECT_BINARY_DIR}/NSAConfigVersion.cmake cmake/NSAAddKernels.cmake
  DESTINATION ${_package})
