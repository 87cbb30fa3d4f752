// SPDX-License-Identifier: Apache-2.0
package v1

type GetOptions struct{}
type ListOptions struct{}

type APIResource struct {
	Name, Kind, Group, Version string
	Namespaced                 bool
}

type APIResourceList struct{ APIResources []APIResource }
