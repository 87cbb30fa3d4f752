{{/* SPDX-License-Identifier: Apache-2.0 */}}
{{- define "certsync.name" -}}
{{- printf "%s-consumer" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- define "certsync.selector" -}}
app.kubernetes.io/name: certsync-consumer
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
{{- define "certsync.labels" -}}
{{ include "certsync.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}
