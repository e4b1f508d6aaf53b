//===- PTXTarget.cpp - What makes PTX of kernels --------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PTXTarget.h"

#include "nsa/Conversion/Passes.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Target/LLVM/ModuleToObject.h"
#include "llvm/Target/TargetMachine.h"

using namespace mlir;

namespace {

class PTXSerializer : public LLVM::ModuleToObject {
public:
  using ModuleToObject::ModuleToObject;

protected:
  FailureOr<SmallVector<char, 0>> moduleToObject(llvm::Module &code) override {
    FailureOr<llvm::TargetMachine *> machine = getOrCreateTargetMachine();
    if (failed(machine))
      return failure();
    FailureOr<SmallString<0>> emitted = translateModuleToISA(
        code, **machine, [&] { return getOperation().emitError(); });
    if (failed(emitted))
      return failure();
    std::string ptx = nsa::holdSharedBases(nsa::widenShortBounds(*emitted));
    if (!expectWaits(ptx))
      return failure();
    return SmallVector<char, 0>(ptx.begin(), ptx.end());
  }

private:
  /// That kernels which may begin early wait before they touch memory.
  bool expectWaits(StringRef ptx) {
    return nsa::expectEach<LLVM::LLVMFuncOp>(
        &getOperation(), [&](LLVM::LLVMFuncOp kernel) {
          std::optional<std::string> error;
          if (kernel->hasAttr(nsa::dependentLaunchAttrName))
            error = nsa::findAccessBeforeWait(ptx, kernel.getSymName());
          if (error)
            emitError(kernel.getLoc())
                << "kernel '" << kernel.getSymName() << "': " << *error;
          return !error;
        });
  }
};

class PTXTarget : public gpu::TargetAttrInterface::FallbackModel<PTXTarget> {
public:
  std::optional<SmallVector<char, 0>>
  serializeToObject(Attribute attribute, Operation *module,
                    const gpu::TargetOptions &options) const {
    if (options.getCompilationTarget() != gpu::CompilationTarget::Assembly) {
      module->emitError("expected format 'isa', which is PTX");
      return std::nullopt;
    }
    nsa::initializeBackends();
    auto target = cast<NVVM::NVVMTargetAttr>(attribute);
    PTXSerializer serializer(*module, target.getTriple(), target.getChip(),
                             target.getFeatures(), target.getO());
    return serializer.run();
  }

  Attribute createObject(Attribute attribute, Operation *module,
                         const SmallVector<char, 0> &object,
                         const gpu::TargetOptions &options) const {
    return gpu::ObjectAttr::get(
        attribute, options.getCompilationTarget(),
        StringAttr::get(attribute.getContext(),
                        StringRef(object.data(), object.size())));
  }
};

} // namespace

void nsa::registerPTXTarget(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, NVVM::NVVMDialect *) {
    NVVM::NVVMTargetAttr::attachInterface<PTXTarget>(*context);
  });
}
