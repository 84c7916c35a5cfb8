{{- define "breakwater.name" -}}
{{- default .Chart.Name .Values.nameOverride -}}
{{- end -}}

{{- define "breakwater.operatorName" -}}
{{- printf "%s-operator" (include "breakwater.name" .) -}}
{{- end -}}

{{- define "breakwater.webhookName" -}}
{{- printf "%s-injector" (include "breakwater.name" .) -}}
{{- end -}}

{{- define "breakwater.certificateSecretName" -}}
{{- printf "%s-certificates" (include "breakwater.name" .) -}}
{{- end -}}

{{- define "breakwater.selectorLabels" -}}
app.kubernetes.io/name: {{ include "breakwater.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "breakwater.labels" -}}
app.kubernetes.io/name: {{ include "breakwater.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: breakwater
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* repository:tag, or repository@digest; called with (dict "image" … "chart" .Chart) */}}
{{- define "breakwater.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (default .chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end -}}
