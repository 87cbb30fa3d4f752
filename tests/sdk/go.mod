// SPDX-License-Identifier: Apache-2.0
module certsync/sdk

go 1.19

require github.com/cloudevents/sdk-go/v2 v2.15.2

require (
	github.com/json-iterator/go v1.1.10 // indirect
	github.com/modern-go/concurrent v0.0.0-20180228061459-e0a39a4cb421 // indirect
	github.com/modern-go/reflect2 v0.0.0-20180701023420-4b7aa43c6742 // indirect
)
