{{/*
Names are decided here, and nowhere else. The longest that is made from the full name is its webhook's Service, which may
have 63 characters, begins with a letter and has no dot; release names have none of these limits.
*/}}
{{- define "credential-injector.name" -}}
{{- default .Chart.Name .Values.nameOverride -}}
{{- end }}

{{- define "credential-injector.fullname" -}}
{{- $name := include "credential-injector.name" . -}}
{{- $release := .Release.Name | replace "." "-" -}}
{{- if regexMatch "^[0-9]" $release }}{{ $release = printf "r%s" $release }}{{ end -}}
{{- $full := ternary $release (printf "%s-%s" $release $name) (contains $name $release) -}}
{{- if .Values.fullnameOverride }}{{ $full = .Values.fullnameOverride }}{{ end -}}
{{- /* Cut with a hash of the whole: two long names that begin alike stay two. */ -}}
{{- if gt (len $full) 40 }}{{ $full = printf "%s-%s" (trunc 31 $full | trimSuffix "-") (sha256sum $full | trunc 8) }}{{ end -}}
{{- $full -}}
{{- end }}

{{- define "credential-injector.webhook.name" -}}
{{ include "credential-injector.fullname" . }}-webhook
{{- end }}

{{- define "credential-injector.controller.name" -}}
{{ include "credential-injector.fullname" . }}-controller
{{- end }}

{{- define "credential-injector.workloads.name" -}}
{{ include "credential-injector.fullname" . }}-workloads
{{- end }}

{{/* The webhook configuration with an entry for each CredentialPolicy. */}}
{{- define "credential-injector.policies.name" -}}
{{ include "credential-injector.fullname" . }}-policies
{{- end }}

{{/* The checks of finished pods. */}}
{{- define "credential-injector.enforcement.credentials.name" -}}
{{ include "credential-injector.fullname" . }}-enforced
{{- end }}

{{- define "credential-injector.enforcement.clustercredentials.name" -}}
{{ include "credential-injector.fullname" . }}-enforced-cluster
{{- end }}

{{/* Takes (list context what). */}}
{{- define "credential-injector.fences.name" -}}
{{ include "credential-injector.fullname" (index . 0) }}-fence-{{ index . 1 }}
{{- end }}

{{/* The Secret with the CA; the Certificate that fills it has the same name. */}}
{{- define "credential-injector.ca.name" -}}
{{ include "credential-injector.fullname" . }}-ca
{{- end }}

{{/* The Secret that the webhook serves with; the Certificate that fills it has the same name. */}}
{{- define "credential-injector.tls.name" -}}
{{- if eq .Values.certificates.mode "existing" -}}
{{ .Values.certificates.existing.secretName }}
{{- else -}}
{{ include "credential-injector.webhook.name" . }}-tls
{{- end -}}
{{- end }}

{{- define "credential-injector.priorityClass.name" -}}
{{- if .Values.priorityClass.create -}}
{{ include "credential-injector.fullname" . }}
{{- else -}}
{{ .Values.priorityClass.name }}
{{- end -}}
{{- end }}

{{/* DNS names by which the API server calls the webhook, and by which people might. */}}
{{- define "credential-injector.webhook.dnsNames" -}}
- {{ include "credential-injector.webhook.name" . }}.{{ .Release.Namespace }}.svc
- {{ include "credential-injector.webhook.name" . }}.{{ .Release.Namespace }}.svc.cluster.local
{{- end }}

{{- define "credential-injector.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- end -}}
{{- end }}

{{/* Takes (list context component). Labels of every object; the component may be empty. */}}
{{- define "credential-injector.labels" -}}
{{- $root := index . 0 -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "credential-injector.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: {{ include "credential-injector.name" $root }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Takes (list context component). What pods are selected by: never changes between versions. */}}
{{- define "credential-injector.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "credential-injector.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
{{- with index . 1 }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}
