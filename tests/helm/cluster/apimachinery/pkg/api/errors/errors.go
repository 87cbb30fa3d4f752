// SPDX-License-Identifier: Apache-2.0
package errors

func IsNotFound(error) bool { return false }
