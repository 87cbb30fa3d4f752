# SPDX-License-Identifier: Apache-2.0
# Flags of programs that are for use: hardened as Debian's own, and the same wherever they are built.
include(CheckCCompilerFlag)
include(CheckCSourceCompiles)

# Not CMAKE_POSITION_INDEPENDENT_CODE, which makes libraries -fPIC: code that may be replaced at run time is not inlined.
set(type $<TARGET_PROPERTY:TYPE>)
target_compile_options(certsync_flags INTERFACE $<$<OR:$<STREQUAL:${type},EXECUTABLE>,$<STREQUAL:${type},STATIC_LIBRARY>>:-fPIE>)
target_link_options(certsync_flags INTERFACE $<$<STREQUAL:${type},EXECUTABLE>:-pie>)
target_link_options(certsync_flags INTERFACE LINKER:-z,relro,-z,now,-z,noexecstack)
# Not every processor and compiler has them.
foreach(flag -fstack-clash-protection -fcf-protection)
  string(MAKE_C_IDENTIFIER "CERTSYNC_HAVE${flag}" have)
  check_c_compiler_flag(${flag} ${have})
  if(${have})
    target_compile_options(certsync_flags INTERFACE ${flag})
  endif()
endforeach()
# 3 needs gcc 12 or clang 9, and glibc 2.34; older ones warn.
set(CMAKE_REQUIRED_FLAGS "-O2 -Werror -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3")
check_c_source_compiles("#include <string.h>
int main(int argc, char **argv) { char b[8]; memcpy(b, argv[0], (size_t)argc); return b[0]; }" CERTSYNC_HAVE_FORTIFY_3)
unset(CMAKE_REQUIRED_FLAGS)
target_compile_options(certsync_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$<IF:$<BOOL:${CERTSYNC_HAVE_FORTIFY_3}>,3,2>)

# No name of the directories in which it was built, however the one lies in the other.
file(RELATIVE_PATH up ${CMAKE_BINARY_DIR} ${CMAKE_SOURCE_DIR})
string(REGEX REPLACE "/$" "" up "${up}")
foreach(map ${CMAKE_SOURCE_DIR}=. ${CMAKE_BINARY_DIR}=. ${up}=.)
  target_compile_options(certsync_flags INTERFACE -ffile-prefix-map=${map})
endforeach()
