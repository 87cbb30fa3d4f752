// SPDX-License-Identifier: Apache-2.0
package schema

type GroupVersion struct{ Group, Version string }

func (v GroupVersion) String() string { return v.Group + "/" + v.Version }

type GroupVersionKind struct{ Group, Version, Kind string }

func (k GroupVersionKind) String() string             { return k.Group + "/" + k.Version + ", " + k.Kind }
func (k GroupVersionKind) GroupVersion() GroupVersion { return GroupVersion{k.Group, k.Version} }

type GroupVersionResource struct{ Group, Version, Resource string }

func FromAPIVersionAndKind(version, kind string) GroupVersionKind {
	return GroupVersionKind{"", version, kind}
}
