{{- define "credential-injector.networkPolicy.metrics" -}}
- ports:
    - port: ops
  {{- with .Values.networkPolicy.metricsFrom }}
  from:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* The programs find the API server by its address in the environment, so not even DNS is needed. */}}
{{- define "credential-injector.networkPolicy.apiServer" -}}
- ports:
    {{- range .Values.networkPolicy.apiServerPorts }}
    - port: {{ . }}
      protocol: TCP
    {{- end }}
  {{- with .Values.networkPolicy.apiServer }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
