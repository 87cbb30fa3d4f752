# SPDX-License-Identifier: Apache-2.0
# Tests of the program certsync and its modules.
function(cs_agent_test name)
  cs_unit_test(${name} certsync_agent)
endfunction()

cs_agent_test(spool)

# Its own build of the spool, with a hook at each step at which it can be killed.
cs_agent_test(spool_kill)
target_sources(test_spool_kill PRIVATE
  ${PROJECT_SOURCE_DIR}/agent/spool/spool.c ${PROJECT_SOURCE_DIR}/agent/spool/entry.c ${PROJECT_SOURCE_DIR}/agent/spool/file.c
  ${PROJECT_SOURCE_DIR}/agent/spool/mark.c ${PROJECT_SOURCE_DIR}/agent/spool/segment.c ${PROJECT_SOURCE_DIR}/agent/spool/view.c)
target_compile_definitions(test_spool_kill PRIVATE CS_SPOOL_TEST_HOOKS)

cs_agent_test(settle)

cs_agent_test(agent_drain)
cs_agent_test(sender)

cs_agent_test(agent_compose)
target_compile_definitions(test_agent_compose PRIVATE CERTSYNC_TEST_CERTS="${CERTSYNC_TEST_CERTS}")
add_dependencies(test_agent_compose test_certs)

# Runs the program itself.
cs_agent_test(agent_cli)
target_compile_definitions(test_agent_cli PRIVATE CERTSYNC_TEST_CERTS="${CERTSYNC_TEST_CERTS}"
                           CERTSYNC_BINARY="$<TARGET_FILE:certsync>")
add_dependencies(test_agent_cli test_certs certsync)
set_tests_properties(unit.agent_cli PROPERTIES COST 100) # it waits more than it works, so it begins first

cs_agent_test(scan)
target_compile_definitions(test_scan PRIVATE CERTSYNC_TEST_CERTS="${CERTSYNC_TEST_CERTS}")
add_dependencies(test_scan test_certs)
cs_agent_test(watch)

cs_agent_test(agent_publisher)
cs_agent_test(register)
cs_agent_test(keystore)
cs_agent_test(daemon_lock)

cs_agent_test(secret)
target_compile_definitions(test_secret PRIVATE CERTSYNC_TEST_CERTS="${CERTSYNC_TEST_CERTS}"
  CERTSYNC_SECRET_KEYS="${CMAKE_CURRENT_SOURCE_DIR}/secret_keys")
add_dependencies(test_secret test_certs)
