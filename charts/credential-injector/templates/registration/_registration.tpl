{{/*
Who writes the caBundle. Except in mode "existing" it is not in these manifests at all, so that neither an upgrade nor a
rollback ever touches what cert-manager or the controller has put there: a bundle that Helm wrote, even one that it looked up
in the cluster, would come back stale with the next rollback.
*/}}
{{- define "credential-injector.registration.annotations" -}}
{{- $annotations := deepCopy .Values.admission.annotations -}}
{{- if eq .Values.certificates.mode "certManager" -}}
{{- $from := printf "%s/%s" .Release.Namespace (include "credential-injector.ca.name" .) -}}
{{- $annotations = set $annotations "cert-manager.io/inject-ca-from" $from -}}
{{- end -}}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Takes (list context path). */}}
{{- define "credential-injector.registration.clientConfig" -}}
{{- $root := index . 0 -}}
service:
  name: {{ include "credential-injector.webhook.name" $root }}
  namespace: {{ $root.Release.Namespace | quote }}
  path: {{ index . 1 }}
  port: 443
{{- with include "credential-injector.registration.caBundle" $root }}
caBundle: {{ . }}
{{- end }}
{{- end }}

{{/* In mode "existing": base64 of the PEM, whichever of the two was given. */}}
{{- define "credential-injector.registration.caBundle" -}}
{{- with .Values.certificates }}
{{- if eq .mode "existing" -}}
{{- $given := trim .existing.caBundle -}}
{{- if hasPrefix "-----BEGIN" $given }}{{ b64enc (printf "%s\n" $given) }}{{ else }}{{ $given }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/*
CEL: whether a map of annotations (an expression) has one of ours. Going through all of them costs the API server time that
grows with the square of their number, and a request may bring tens of thousands. Nobody has a thousand; whoever does is asked
for the known keys by name, and only a misspelt one among so many goes without its warning.
*/}}
{{- define "credential-injector.registration.hasOurs" -}}
(size({{ . }}) <= 1000 ? {{ . }}.exists(k, k.startsWith('credentials.run.ai/')) : ['inject', 'containers', 'skip-containers', 'on-conflict', 'opt-out', 'restart-on-rotation', 'restarted-for', 'injected'].exists(k, ('credentials.run.ai/' + k) in {{ . }}))
{{- end }}

{{/* The cluster's own namespaces are never touched: a cluster must be able to start without us, and so must we. */}}
{{- define "credential-injector.registration.namespaceSelector" -}}
{{- $own := list "kube-system" "kube-node-lease" "kube-public" .Release.Namespace -}}
{{- $selector := .Values.admission.namespaceSelector -}}
{{- with $selector.matchLabels }}
matchLabels:
  {{- toYaml . | nindent 2 }}
{{- end }}
matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: NotIn
    values:
      {{- concat $own .Values.admission.excludedNamespaces | uniq | toYaml | nindent 6 }}
  {{- with $selector.matchExpressions }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
