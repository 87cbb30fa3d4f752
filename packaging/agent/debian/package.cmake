# SPDX-License-Identifier: Apache-2.0
# The package certsync: the command, and the agent as a service.
certsync_package(agent
  FOLDER ${CMAKE_CURRENT_LIST_DIR}/..
  PACKAGE certsync
  PROGRAM certsync
  UNIT certsync-agent
  USER certsync
  CONFIG certsync.conf
  RECOMMENDS "ca-certificates"
  SUGGESTS "tpm2-openssl"
  PURGE_DIRECTORIES /var/lib/certsync
  PURGE_FILES "/etc/certsync/agent.key /etc/certsync/agent.key.pub /etc/certsync/agent.key.next /etc/certsync/agent.key.next.pub")
foreach(page certsync.1 certsync-agent.8 certsync.conf.5)
  certsync_man_page(certsync ${CMAKE_CURRENT_LIST_DIR}/../man/${page}.in agent)
endforeach()
