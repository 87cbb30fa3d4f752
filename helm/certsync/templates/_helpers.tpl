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
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{- end -}}
{{/*
A value as text. Numbers of values.yaml are floats: printed as they are, 1340000 is 1.34e+06.
*/}}
{{- define "certsync.value" -}}
{{- if kindIs "string" . }}{{ . }}{{ else if kindIs "slice" . -}}
{{- range $i, $item := . }}{{ if $i }},{{ end }}{{ include "certsync.value" $item }}{{ end -}}
{{- else }}{{ toJson . }}{{ end -}}
{{- end -}}
{{/*
The keys of one section, a line each. "at" is the section's name; maps within it are keys with dots, as rdkafka.*.
*/}}
{{- define "certsync.keys" -}}
{{- $at := .at -}}
{{- $section := .section -}}
{{- range $key, $value := .keys }}
{{- $name := printf "%s.%s" $at $key }}
{{- if kindIs "map" $value }}
{{- include "certsync.keys" (dict "at" $name "section" $section "keys" $value) }}
{{- else if not (kindIs "invalid" $value) }}
{{- $text := include "certsync.value" $value }}
{{- if regexMatch "password$" $name }}
{{- fail (printf "settings.%s: a secret does not belong into a ConfigMap; put %s into the Secret that envSecretName names" $name (printf "CERTSYNC_%s" $name | replace "." "_" | upper)) }}
{{- end }}
{{- if regexMatch "[\\r\\n]" $text }}
{{- fail (printf "settings.%s: the value must be one line" $name) }}
{{- end }}
{{- if or (ne $text (trim $text)) (hasPrefix "\"" $text) }}
{{- $text = printf "\"%s\"" ($text | replace "\\" "\\\\" | replace "\"" "\\\"") }}
{{- end }}
{{ trimPrefix (printf "%s." $section) $name }} = {{ $text }}
{{- end }}
{{- end }}
{{- end -}}
{{/*
The port of settings.api.listen: what the container opens and the probes ask.
*/}}
{{- define "certsync.port" -}}
{{- $listen := include "certsync.value" .Values.settings.api.listen -}}
{{- $port := regexFind "[0-9]+$" $listen -}}
{{- if or (not $port) (hasPrefix "unix:" $listen) (regexMatch "^(127\\.|localhost|\\[::1\\])" $listen) -}}
{{- fail (printf "settings.api.listen: %q cannot be reached by probes and the Service; give ADDRESS:PORT, such as 0.0.0.0:8443" $listen) -}}
{{- end -}}
{{- $port -}}
{{- end -}}
