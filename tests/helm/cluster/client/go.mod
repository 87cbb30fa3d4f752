// SPDX-License-Identifier: Apache-2.0
module k8s.io/client-go

go 1.19
