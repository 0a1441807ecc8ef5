{{/*
Values that contradict each other, or the cluster. What a single value may be is said by values.schema.json.
Every sentence says what to do.
*/}}
{{- define "credential-injector.checks" -}}
{{- include "credential-injector.checks.certificates" . -}}
{{- include "credential-injector.checks.webhook" . -}}
{{- include "credential-injector.checks.monitoring" . -}}
{{- include "credential-injector.checks.memory" (list "webhook" .Values.webhook) -}}
{{- include "credential-injector.checks.memory" (list "controller" .Values.controller) -}}
{{- include "credential-injector.checks.labels" (list "commonLabels" .Values.commonLabels) -}}
{{- include "credential-injector.checks.labels" (list "webhook.podLabels" .Values.webhook.podLabels) -}}
{{- include "credential-injector.checks.labels" (list "controller.podLabels" .Values.controller.podLabels) -}}
{{- if and .Values.priorityClass.create .Values.priorityClass.name -}}
{{- fail "priorityClass.name names a class that exists already, and priorityClass.create makes one: set create to false, or leave the name out." -}}
{{- end -}}
{{- end }}

{{- define "credential-injector.checks.certificates" -}}
{{- $mode := .Values.certificates.mode -}}
{{- with .Values.certificates.existing -}}
{{- if eq $mode "existing" -}}
  {{- if not .secretName -}}
    {{- fail "certificates.mode is existing: name the Secret with tls.crt and tls.key in certificates.existing.secretName." -}}
  {{- end -}}
  {{- if not .caBundle -}}
    {{- fail "certificates.mode is existing: give the CA that the API server checks the webhook with in certificates.existing.caBundle, as PEM or base64 of it." -}}
  {{- end -}}
  {{- if not (or (hasPrefix "-----BEGIN CERTIFICATE-----" (trim .caBundle)) (hasPrefix "-----BEGIN CERTIFICATE-----" (trim .caBundle | b64dec))) -}}
    {{- fail "certificates.existing.caBundle is no certificate in PEM: it must begin with -----BEGIN CERTIFICATE-----, or be base64 of text that does." -}}
  {{- end -}}
{{- else if or .secretName .caBundle -}}
  {{- fail (printf "certificates.existing is given, but certificates.mode is %s: set the mode to existing, or leave certificates.existing out." $mode) -}}
{{- end -}}
{{- end -}}
{{- if eq $mode "selfManaged" -}}
  {{- with .Values.certificates.selfManaged -}}
  {{- if lt (include "credential-injector.seconds" .caValidity | int) (include "credential-injector.seconds" .validity | int | mul 5 | int) -}}
    {{- fail (printf "certificates.selfManaged.caValidity (%s) must be at least five times validity (%s): a certificate cannot outlive its CA." .caValidity .validity) -}}
  {{- end -}}
  {{- if lt (include "credential-injector.seconds" .validity | int) 3600 -}}
    {{- fail (printf "certificates.selfManaged.validity is %s, too short for pods to take up the next one in time: give it 1h or more." .validity) -}}
  {{- end -}}
  {{- end -}}
{{- end -}}
{{- if eq $mode "certManager" -}}
  {{- if not (.Capabilities.APIVersions.Has "cert-manager.io/v1") -}}
    {{- fail "certificates.mode is certManager, but this cluster has no cert-manager (no API cert-manager.io/v1): install it first, or set certificates.mode to selfManaged. When you render without a cluster, add --api-versions cert-manager.io/v1." -}}
  {{- end -}}
  {{- with .Values.certificates.certManager -}}
  {{- if ge (trimSuffix "h" .caRenewBefore | int) (trimSuffix "h" .caDuration | int) -}}
    {{- fail "certificates.certManager.caRenewBefore must be shorter than caDuration, or the CA would be renewed without end." -}}
  {{- end -}}
  {{- if ge (trimSuffix "h" .renewBefore | int) (trimSuffix "h" .duration | int) -}}
    {{- fail "certificates.certManager.renewBefore must be shorter than duration, or the certificate would be renewed without end." -}}
  {{- end -}}
  {{- if ge (trimSuffix "h" .duration | int) (trimSuffix "h" .caDuration | int) -}}
    {{- fail "certificates.certManager.duration must be shorter than caDuration: a certificate cannot outlive its CA." -}}
  {{- end -}}
  {{- end -}}
{{- end -}}
{{- end }}

{{/* A duration such as 90d. */}}
{{- define "credential-injector.seconds" -}}
{{- $unit := regexFind "[smhd]$" . -}}
{{- mul (trimSuffix $unit . | int) (get (dict "s" 1 "m" 60 "h" 3600 "d" 86400) $unit) -}}
{{- end }}

{{- define "credential-injector.checks.webhook" -}}
{{- with .Values.webhook -}}
{{- if eq (int .port) (int .metricsPort) -}}
  {{- fail (printf "webhook.port and webhook.metricsPort are both %d: give them different ports." (int .port)) -}}
{{- end -}}
{{- if lt (int .terminationGracePeriodSeconds) (add (int .shutdownDelaySeconds) 15) -}}
  {{- fail (printf "webhook.terminationGracePeriodSeconds (%d) must be at least 15 more than webhook.shutdownDelaySeconds (%d), or pods are killed while they answer." (int .terminationGracePeriodSeconds) (int .shutdownDelaySeconds)) -}}
{{- end -}}
{{- $replicas := int .replicas -}}
{{- with .podDisruptionBudget -}}
{{- if .enabled -}}
  {{- $min := not (kindIs "invalid" .minAvailable) -}}
  {{- $max := not (kindIs "invalid" .maxUnavailable) -}}
  {{- if eq $min $max -}}
    {{- fail "webhook.podDisruptionBudget takes either minAvailable or maxUnavailable: set the other to null." -}}
  {{- end -}}
  {{- /* Kubernetes rounds percentages of both up. */ -}}
  {{- if and $min (ge (include "credential-injector.checks.pods" (list .minAvailable $replicas) | int) $replicas) -}}
    {{- fail (printf "webhook.podDisruptionBudget.minAvailable (%v) of webhook.replicas (%d) leaves no pod that may go, so no node could be drained: have more replicas, or set webhook.podDisruptionBudget.enabled to false." .minAvailable $replicas) -}}
  {{- end -}}
  {{- if and $max (lt (include "credential-injector.checks.pods" (list .maxUnavailable $replicas) | int) 1) -}}
    {{- fail "webhook.podDisruptionBudget.maxUnavailable is 0, so no node could be drained: set it to 1 or more." -}}
  {{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Takes (list number-or-percentage replicas). */}}
{{- define "credential-injector.checks.pods" -}}
{{- $given := index . 0 | toString -}}
{{- if hasSuffix "%" $given -}}
{{- divf (mulf (trimSuffix "%" $given | float64) (index . 1 | float64)) 100.0 | ceil | int -}}
{{- else -}}
{{- int (index . 0) -}}
{{- end -}}
{{- end }}

{{- define "credential-injector.checks.monitoring" -}}
{{- range $value, $kind := dict "serviceMonitor" "ServiceMonitor" "prometheusRule" "PrometheusRule" -}}
{{- if and (get $.Values $value).enabled (not ($.Capabilities.APIVersions.Has "monitoring.coreos.com/v1")) -}}
  {{- fail (printf "%s.enabled is true, but this cluster has no %s (no API monitoring.coreos.com/v1): install the Prometheus operator first, or leave it out. When you render without a cluster, add --api-versions monitoring.coreos.com/v1." $value $kind) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Takes (list name labels). */}}
{{- define "credential-injector.checks.labels" -}}
{{- $name := index . 0 -}}
{{- $labels := index . 1 -}}
{{- range list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" -}}
  {{- if hasKey $labels . -}}
    {{- fail (printf "%s sets %s, by which Deployments and the Service find their pods: leave it out, or use fullnameOverride for another name." $name .) -}}
  {{- end -}}
{{- end -}}
{{- end }}

{{/* Takes (list name values). */}}
{{- define "credential-injector.checks.memory" -}}
{{- $name := index . 0 -}}
{{- with (((index . 1).resources).limits).memory -}}
{{- $mebibytes := include "credential-injector.mebibytes" . -}}
{{- if not $mebibytes -}}
  {{- fail (printf "%s.resources.limits.memory is %q: write an amount such as 384Mi or 1Gi." $name (toString .)) -}}
{{- end -}}
{{- if lt (float64 $mebibytes) 128.0 -}}
  {{- fail (printf "%s.resources.limits.memory is %v, too little for Node to live in: give it 128Mi or more." $name .) -}}
{{- end -}}
{{- end -}}
{{- end }}
