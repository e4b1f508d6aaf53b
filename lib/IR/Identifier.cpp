//===- Identifier.cpp - Names that everything takes -----------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Identifier.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"

using namespace nsa;

namespace {
constexpr unsigned step = static_cast<unsigned>(NameOf::Step);
constexpr unsigned port = static_cast<unsigned>(NameOf::Port);
constexpr unsigned launch = static_cast<unsigned>(NameOf::Launch);

/// Names that are taken, and by whom. A reason that begins with '.' is about
/// the file of that name.
struct Reserved {
  unsigned of;
  const char *reason;
  const char *names;
};
} // namespace

static constexpr Reserved reserved[] = {
    // C11 to C23, C++17 to C++23. Those that begin with '_' are refused anyway.
    {step | port, "it is a keyword of C or C++",
     "alignas alignof and and_eq asm auto bitand bitor bool break case catch "
     "char char16_t char32_t char8_t class co_await co_return co_yield compl "
     "concept const const_cast consteval constexpr constinit continue decltype "
     "default delete do double dynamic_cast else enum explicit export extern "
     "false float for friend goto if inline int long mutable namespace new "
     "noexcept not not_eq nullptr operator or or_eq private protected public "
     "register reinterpret_cast requires restrict return short signed sizeof "
     "static static_assert static_cast struct switch template this "
     "thread_local throw true try typedef typeid typename typeof typeof_unqual "
     "union unsigned using virtual void volatile wchar_t while xor xor_eq"},
    {step | port, "C compilers define a macro of that name", "i386 linux unix"},
    {port, "headers of C define a macro of that name",
     "BIG_ENDIAN BUFSIZ BYTE_ORDER EOF EXIT_FAILURE EXIT_SUCCESS FD_SETSIZE "
     "FILENAME_MAX FOPEN_MAX I INFINITY LITTLE_ENDIAN L_ctermid L_cuserid "
     "L_tmpnam MB_CUR_MAX NAN NFDBITS NULL PDP_ENDIAN P_tmpdir PTRDIFF_MAX "
     "PTRDIFF_MIN RAND_MAX SEEK_CUR SEEK_DATA SEEK_END SEEK_HOLE SEEK_SET "
     "SIG_ATOMIC_MAX SIG_ATOMIC_MIN SIZE_MAX TMP_MAX WCHAR_MAX WCHAR_MIN "
     "WCONTINUED WEXITED WINT_MAX WINT_MIN WNOHANG WNOWAIT WSTOPPED WUNTRACED "
     "complex errno imaginary noreturn"},
    {port, "it is a keyword of Python",
     "False None True and as assert async await break class continue def del "
     "elif else except finally for from global if import in is lambda nonlocal "
     "not or pass raise return try while with yield"},
    {port, "calls from Python have an argument of that name", "self stream"},
    {step | launch, "it is a reserved word of PTX",
     "WARP_SZ abs activemask add addc alloca and applypriority atom bar "
     "barrier bfe bfi bfind bmsk bra brev brkpt brx call clusterlaunchcontrol "
     "clz cnot copysign cos cp createpolicy cvt cvta discard div dp2a dp4a "
     "elect ex2 exit fence fma fns getctarank griddepcontrol isspacep istypep "
     "ld ldmatrix ldu lg2 lop3 mad mad24 madc mapa match max mbarrier membar "
     "min mma mov movmatrix mul mul24 multimem nanosleep neg not or pmevent "
     "popc prefetch prefetchu prmt rcp red redux rem ret rsqrt sad selp set "
     "setmaxnreg setp shf shfl shl shr sin slct sqrt st stackrestore stacksave "
     "stmatrix sub subc suld suq sured sust szext tanh tcgen05 tensormap testp "
     "tex tld4 trap txq vabsdiff vabsdiff2 vabsdiff4 vadd vadd2 vadd4 vavrg2 "
     "vavrg4 vmad vmax vmax2 vmax4 vmin vmin2 vmin4 vote vset vset2 vset4 vshl "
     "vshr vsub vsub2 vsub4 wgmma wmma xor"},
    {step | launch, "it is a function that every kernel can call",
     "free malloc vprintf"},
    // The header of a step is NAME.h in a folder that compilers look into
    // before their own.
    {step, ".h' is a header of the system",
     "acc_prof aio aliases alloca ar argp argz assert backtrace byteswap cet "
     "complex cpio cpuid ctype cxxabi dirent dlfcn elf endian envz err errno "
     "error execinfo fcntl features fenv float fmtmsg fnmatch fpu_control "
     "fstab fts ftw gconv gcov getopt glob grp gshadow iconv ieee754 ifaddrs "
     "inttypes iso646 langinfo lastlog libgen libintl limits link locale "
     "malloc math mcheck memory mm_malloc mntent monetary mqueue netdb "
     "nl_types nss obstack omp openacc paths poll printf proc_service pthread "
     "pty pwd quadmath re_comp regex regexp resolv sched search semaphore "
     "setjmp sgtty shadow signal spawn stab stdalign stdarg stdatomic stdbit "
     "stdbool stdckdint stddef stdfix stdint stdio stdio_ext stdlib "
     "stdnoreturn string strings syscall sysexits syslimits syslog tar termio "
     "termios tgmath thread_db threads time ttyent uchar ucontext ulimit "
     "unistd unwind utime utmp utmpx values varargs wait wchar wctype wordexp"},
    {step, ".h' is a header of CUDA",
     "builtin_types channel_descriptor common_functions cooperative_groups "
     "cuComplex cublas cublas_v2 cuda cudaGL cudaProfiler cudaTypedefs "
     "cuda_bf16 cuda_device_runtime_api cuda_fp16 cuda_fp4 cuda_fp6 cuda_fp8 "
     "cuda_occupancy cuda_pipeline cuda_runtime cuda_runtime_api cudnn cufft "
     "cupti curand cusolverDn cusparse device_atomic_functions "
     "device_functions device_launch_parameters device_types driver_functions "
     "driver_types fatbinary_section host_config host_defines library_types "
     "math_constants math_functions mma nccl nvJitLink nvToolsExt nvml nvrtc "
     "sm_60_atomic_functions surface_indirect_functions surface_types "
     "texture_indirect_functions texture_types vector_functions vector_types"},
};

/// INT64_MAX, UINT8_C and the like.
static bool isIntegerMacro(StringRef name) {
  name.consume_front("U");
  return name.consume_front("INT") && name.contains('_') &&
         llvm::all_of(name, [](char c) {
           return llvm::isUpper(c) || llvm::isDigit(c) || c == '_';
         });
}

/// The reasons by name, for what a name is given to. Of a name that several
/// groups have, the first.
static llvm::StringMap<const char *> getReasons(unsigned of) {
  llvm::StringMap<const char *> reasons;
  for (const Reserved &group : reserved) {
    llvm::SmallVector<StringRef> names;
    StringRef(group.names).split(names, ' ');
    if (group.of & of)
      for (StringRef name : names)
        reasons.try_emplace(name, group.reason);
  }
  return reasons;
}

std::string nsa::getNameProblem(StringRef name, NameOf of) {
  if (name.empty() || llvm::isDigit(name[0]) ||
      !llvm::all_of(name, [](char c) { return llvm::isAlnum(c) || c == '_'; }))
    return "it is not a C identifier";
  // At the top of a file all names that begin with '_' are for compilers;
  // inside of a struct only some.
  if (name[0] == '_' && (of != NameOf::Port || name.starts_with("__") ||
                         (name.size() > 1 && llvm::isUpper(name[1]))))
    return "names that begin so are for compilers";
  if (of == NameOf::Step && (name == "nsa" || name.starts_with("nsa_")))
    return "generated headers share names that begin with 'nsa_'";
  if (of == NameOf::Step && name.ends_with("intrin"))
    return ("'" + name + ".h' is a header of the compiler").str();
  if (of == NameOf::Port &&
      (name.starts_with("CUDA") || name.starts_with("CU_") ||
       name.starts_with("NSA_") || isIntegerMacro(name)))
    return "headers that generated ones include define macros of such names";

  static const llvm::StringMap<const char *> ofSteps = getReasons(step),
                                             ofPorts = getReasons(port),
                                             ofLaunches = getReasons(launch);
  const auto &reasons = of == NameOf::Step   ? ofSteps
                        : of == NameOf::Port ? ofPorts
                                             : ofLaunches;
  StringRef reason = reasons.lookup(name);
  if (reason.starts_with("."))
    return ("'" + name + reason).str();
  return reason.str();
}
