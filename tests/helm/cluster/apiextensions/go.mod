// SPDX-License-Identifier: Apache-2.0
module k8s.io/apiextensions-apiserver

go 1.19
