// SPDX-License-Identifier: Apache-2.0
package v1beta1

func AddToScheme(interface{}) error { return nil }
