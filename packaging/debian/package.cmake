# SPDX-License-Identifier: Apache-2.0
# What the Debian packages of both programs share: ./dev package, or cpack -G DEB in a build directory.
set(CERTSYNC_MAINTAINER "certsync maintainers <maintainers@certsync.invalid>" CACHE STRING "Maintainer that the packages name")
set(CERTSYNC_RELEASE_DATE "Thu, 26 Nov 2026 00:00:00 +0000")
set(CERTSYNC_MAN_DATE 2026-11-26)
set(CERTSYNC_SHARED_DEBIAN ${CMAKE_CURRENT_LIST_DIR})

set(CPACK_GENERATOR DEB)
add_custom_target(packages COMMENT "What the packages hold beside the programs")
set(CPACK_COMPONENTS_ALL "")
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE
                                                WORLD_READ WORLD_EXECUTE)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "${CERTSYNC_MAINTAINER}")
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
# sysusers and tmpfiles come with systemd, or alone where there is none (containers).
set(CPACK_DEBIAN_PACKAGE_DEPENDS
    "init-system-helpers (>= 1.52), systemd | systemd-standalone-sysusers | systemd-sysusers, \
systemd | systemd-standalone-tmpfiles | systemd-tmpfiles")

# certsync_generate(PROGRAM TEMPLATE OUTPUT [GZIP]): a file from its template, with what the program says put in.
function(certsync_generate program template output)
  get_filename_component(directory ${output} DIRECTORY)
  file(MAKE_DIRECTORY ${directory})
  configure_file(${template} ${output}.in @ONLY)
  set(fill sh ${CERTSYNC_SHARED_DEBIAN}/fill.sh $<TARGET_FILE:${program}> ${output}.in)
  set(compress "")
  set(made ${output})
  if("${ARGN}" STREQUAL GZIP)
    set(made ${output}.gz)
    set(compress COMMAND gzip -9nf ${output})
  endif()
  add_custom_command(OUTPUT ${made} COMMAND ${fill} > ${output} ${compress} VERBATIM
                     DEPENDS ${program} ${output}.in ${CERTSYNC_SHARED_DEBIAN}/fill.sh)
  string(MAKE_C_IDENTIFIER "${output}" target)
  add_custom_target(${target} ALL DEPENDS ${made})
  add_dependencies(packages ${target})
endfunction()

# certsync_man_page(PROGRAM TEMPLATE COMPONENT): packaging/agent/man/certsync.1.in becomes .../man/man1/certsync.1.gz.
function(certsync_man_page program template component)
  get_filename_component(page ${template} NAME_WLE) # without .in
  string(REGEX MATCH "[0-9]$" section ${page})
  set(output ${CMAKE_BINARY_DIR}/package/${component}/${page})
  certsync_generate(${program} ${template} ${output} GZIP)
  install(FILES ${output}.gz DESTINATION share/man/man${section} COMPONENT ${component})
endfunction()

# certsync_package(COMPONENT FOLDER f PACKAGE p UNIT u CONFIG c ...): the package of one program, whose own files
# are in FOLDER/debian and FOLDER/systemd. MORE_UNITS are further units there, of the same program and user. USER is whom the service runs as; PURGE_FILES and PURGE_DIRECTORIES are
# what a purge deletes beside the packaged files.
function(certsync_package component)
  cmake_parse_arguments(P "" "FOLDER;PACKAGE;PROGRAM;UNIT;USER;CONFIG;RECOMMENDS;SUGGESTS;PURGE_FILES;PURGE_DIRECTORIES" "MORE_UNITS" ${ARGN})
  set(P_UNITS ${P_UNIT} ${P_MORE_UNITS})
  list(JOIN P_UNITS " " P_UNITS_TEXT)
  set(made ${CMAKE_BINARY_DIR}/package/${component})
  set(doc share/doc/${P_PACKAGE})

  certsync_generate(${P_PROGRAM} ${P_FOLDER}/debian/${P_CONFIG}.in ${made}/${P_CONFIG})
  certsync_generate(${P_PROGRAM} ${CERTSYNC_SHARED_DEBIAN}/changelog.in ${made}/changelog GZIP)
  install(FILES ${made}/changelog.gz ${CERTSYNC_SHARED_DEBIAN}/copyright DESTINATION ${doc} COMPONENT ${component})
  configure_file(${CERTSYNC_SHARED_DEBIAN}/installed.cmake.in ${made}/installed.cmake @ONLY)
  install(SCRIPT ${made}/installed.cmake COMPONENT ${component})
  foreach(kind sysusers tmpfiles)
    if(EXISTS ${P_FOLDER}/systemd/${kind}.conf)
      install(FILES ${P_FOLDER}/systemd/${kind}.conf DESTINATION lib/${kind}.d RENAME ${P_UNIT}.conf
              COMPONENT ${component})
    endif()
  endforeach()
  install(FILES ${P_FOLDER}/debian/lintian-overrides DESTINATION share/lintian/overrides RENAME ${P_PACKAGE}
          COMPONENT ${component})

  # Where each shell looks for them by itself.
  set(bash share/bash-completion/completions/${P_PROGRAM})
  set(zsh share/zsh/vendor-completions/_${P_PROGRAM})
  set(fish share/fish/vendor_completions.d/${P_PROGRAM}.fish)
  foreach(shell bash zsh fish)
    file(WRITE ${made}/${shell}.template "@@ completion ${shell}\n")
    certsync_generate(${P_PROGRAM} ${made}/${shell}.template ${made}/completion.${shell})
    get_filename_component(directory ${${shell}} DIRECTORY)
    get_filename_component(name ${${shell}} NAME)
    install(FILES ${made}/completion.${shell} DESTINATION ${directory} RENAME ${name} COMPONENT ${component})
  endforeach()

  set(control "")
  foreach(script postinst prerm postrm)
    configure_file(${CERTSYNC_SHARED_DEBIAN}/${script}.in ${made}/control/${script} @ONLY FILE_PERMISSIONS
                   OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
    list(APPEND control ${made}/control/${script})
  endforeach()
  file(CONFIGURE OUTPUT ${made}/control/conffiles CONTENT "/etc/certsync/${P_CONFIG}\n")
  list(APPEND control ${made}/control/conffiles)

  set(CPACK_COMPONENTS_ALL ${CPACK_COMPONENTS_ALL} ${component} PARENT_SCOPE)
  string(TOUPPER ${component} upper)
  set(CPACK_DEBIAN_${upper}_PACKAGE_NAME ${P_PACKAGE} PARENT_SCOPE)
  set(CPACK_DEBIAN_${upper}_PACKAGE_RECOMMENDS "${P_RECOMMENDS}" PARENT_SCOPE)
  set(CPACK_DEBIAN_${upper}_PACKAGE_SUGGESTS "${P_SUGGESTS}" PARENT_SCOPE)
  set(CPACK_DEBIAN_${upper}_PACKAGE_CONTROL_EXTRA "${control}" PARENT_SCOPE)
  file(READ ${P_FOLDER}/debian/description description)
  set(CPACK_DEBIAN_${upper}_DESCRIPTION "${description}" PARENT_SCOPE)
endfunction()
