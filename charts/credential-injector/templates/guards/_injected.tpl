{{/* What the webhook is sent, and no more: what it never sees, it cannot have injected. */}}
{{- define "credential-injector.guards.whatIsInjected" -}}
matchPolicy: {{ .Values.admission.matchPolicy }}
resourceRules:
  - apiGroups: ['']
    apiVersions: [v1]
    resources: [pods]
    operations: [CREATE]
    scope: Namespaced
namespaceSelector:
  {{- include "credential-injector.registration.namespaceSelector" . | trim | nindent 2 }}
objectSelector:
  {{- toYaml .Values.admission.objectSelector | nindent 2 }}
{{- end }}

{{- define "credential-injector.guards.whenAsked" -}}
- name: asks-for-credentials
  expression: >-
    object.metadata.?annotations[?'credentials.run.ai/inject'].orValue('').matches('[^\\s,]')
- name: is-not-a-mirror-pod
  expression: >-
    !has(object.metadata.annotations) ||
    !('kubernetes.io/config.mirror' in object.metadata.annotations)
{{- with .Values.admission.matchConditions }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The variable `selected`: the containers that are to get something, as src/inject/request.ts selects them. */}}
{{- define "credential-injector.guards.selected" -}}
- name: only
  expression: >-
    {{ include "credential-injector.guards.items" "containers" }}.filter(item, item != '')
- name: skipped
  expression: >-
    {{ include "credential-injector.guards.items" "skip-containers" }}
- name: selected
  expression: >-
    (object.spec.?initContainers.orValue([]) + object.spec.containers).filter(container,
      variables.only.size() > 0 ? container.name in variables.only : !(container.name in variables.skipped))
{{- end }}
