//===- AttachTarget.cpp - Which GPU to compile for ------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#define GEN_PASS_DEF_ATTACHTARGET
#include "nsa/Conversion/Passes.h"

#include "nsa/IR/NSADialect.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"

#include <mutex>

using namespace mlir;
using namespace nsa;

static constexpr llvm::StringLiteral triple = "nvptx64-nvidia-cuda";

void nsa::initializeBackends() {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
  });
}

unsigned nsa::getChipVersion(StringRef chip) {
  unsigned version = 0;
  if (!chip.consume_front("sm_") || chip.consumeInteger(10, version))
    return 0;
  return version;
}

/// The chips from sm_80 on that LLVM can write PTX for, oldest first.
static SmallVector<StringRef> getChips() {
  initializeBackends();
  std::string error;
  llvm::Triple target(triple);
  const llvm::Target *nvptx = llvm::TargetRegistry::lookupTarget(target, error);
  if (!nvptx)
    return {};
  std::unique_ptr<llvm::MCSubtargetInfo> info(
      nvptx->createMCSubtargetInfo(target, "", ""));
  SmallVector<std::pair<unsigned, StringRef>> chips;
  for (const auto &description : info->getAllProcessorDescriptions()) {
    StringRef chip = description.Key;
    if (unsigned version = getChipVersion(chip); version >= 80)
      chips.emplace_back(version, chip);
  }
  llvm::sort(chips);
  return llvm::to_vector(llvm::make_second_range(chips));
}

namespace {
struct AttachTarget : public nsa::impl::AttachTargetBase<AttachTarget> {
  using Base::Base;

  void runOnOperation() override {
    SmallVector<StringRef> chips = getChips();
    if (!llvm::is_contained(chips, chip)) {
      // It is no line of the text that is wrong.
      emitError(UnknownLoc::get(&getContext()))
          << "unknown chip '" << chip << "': expected one of "
          << llvm::join(chips, ", ");
      return signalPassFailure();
    }
    constexpr int64_t warp = 32;
    int64_t given = TargetAttr::of(getOperation()).getWarp();
    if (!expect([&] { return getOperation().emitError(); }, given == warp,
                "'nsa.target' to have warps of ", warp, " threads, as '", chip,
                "' has, but got ", given) ||
        !expectDependentLaunches())
      return signalPassFailure();
    OpBuilder b(&getContext());
    StringRef features = largeParameters ? "+ptx81" : "";
    auto target = NVVM::NVVMTargetAttr::get(&getContext(), /*optLevel=*/3,
                                            triple, chip, features);
    for (auto module : getOperation().getOps<gpu::GPUModuleOp>())
      module.setTargetsAttr(b.getArrayAttr(target));
  }

  /// That the chip has what the kernels ask for.
  bool expectDependentLaunches() {
    return expectEach<gpu::GPUFuncOp>(
        getOperation(), [&](gpu::GPUFuncOp kernel) {
          if (getChipVersion(chip) >= firstDependentChip ||
              !kernel->hasAttr(dependentLaunchAttrName))
            return true;
          emitError(kernel.getLoc())
              << "programmatic dependent launch ('pdl') needs sm_"
              << firstDependentChip << " or later, but the chip is '" << chip
              << "'";
          return false;
        });
  }
};
} // namespace
