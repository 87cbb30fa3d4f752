// SPDX-License-Identifier: Apache-2.0
module k8s.io/apimachinery

go 1.19
