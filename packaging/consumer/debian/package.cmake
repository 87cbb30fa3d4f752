# SPDX-License-Identifier: Apache-2.0
# The package certsync-consumer.
certsync_package(consumer
  FOLDER ${CMAKE_CURRENT_LIST_DIR}/..
  PACKAGE certsync-consumer
  PROGRAM certsync-consumer
  UNIT certsync-consumer
  MORE_UNITS certsync-notify
  USER certsync-consumer
  CONFIG consumer.conf
  SUGGESTS "certsync, redis-server"
  PURGE_FILES "/etc/certsync/service.key /etc/certsync/service.key.pub /etc/certsync/root.pub")
foreach(page certsync-consumer.8 certsync-consumer.conf.5)
  certsync_man_page(certsync-consumer ${CMAKE_CURRENT_LIST_DIR}/../man/${page}.in consumer)
endforeach()
