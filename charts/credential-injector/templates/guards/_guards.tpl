{{/*
Parts of the guards, which are written in CEL and run inside the API server. Each expression must be safe for objects without
the field: one that fails to evaluate refuses the object.
*/}}

{{/* Whether the guard against pods that were not injected is wanted: by itself, where the webhook may be missed. */}}
{{- define "credential-injector.guards.notInjected" -}}
{{- if or (eq (toString .Values.guards.notInjected.enabled) "true") (and (eq (toString .Values.guards.notInjected.enabled) "auto") (eq .Values.admission.failurePolicy "Ignore")) -}}
true
{{- end -}}
{{- end }}

{{/*
Pods and credentials meet in the credential itself, which is the parameter: the policy is evaluated once for each. A binding
without a namespace takes those of the pod's own. Takes (list context name).
*/}}
{{- define "credential-injector.guards.bindingForEach" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ $name }}
  labels:
    {{- include "credential-injector.labels" (list $root "") | nindent 4 }}
spec:
  policyName: {{ $name }}
  paramRef:
    selector: {}
    # Where there is no credential there is nothing to guard.
    parameterNotFoundAction: Allow
  validationActions: [Deny]
{{- end }}

{{/* CEL: the service account that a pod runs as. */}}
{{- define "credential-injector.guards.account" -}}
(object.spec.?serviceAccountName.orValue('') != '' ? object.spec.serviceAccountName : 'default')
{{- end }}

{{/*
CEL: the items of an annotation that is a list, as src/inject/request.ts reads it; empty ones are left in. Takes the key
without its prefix.
*/}}
{{- define "credential-injector.guards.items" -}}
object.metadata.?annotations[?'credentials.run.ai/{{ . }}'].orValue('').replace('\n', ',').replace('\r', ',').split(',').map(item, item.trim())
{{- end }}

{{/*
CEL: whether one of these containers (an expression) takes variables from the Secret `variables.secret`. Pods may have very many
variables: optional values are compared as they are, which takes half the time of looking into them.
*/}}
{{- define "credential-injector.guards.inVariables" -}}
[optional.of(variables.secret)].exists(secret, {{ . }}.exists(container,
  container.?env.orValue([]).exists(entry, entry.?valueFrom.?secretKeyRef.?name == secret) ||
  container.?envFrom.orValue([]).exists(entry, entry.?secretRef.?name == secret)))
{{- end }}

{{/*
The variables `secret` (an expression, given) and `isUsed`: whether the pod refers to that Secret in any of the ways there are.
Of a running pod only ephemeral containers can be added, and only what is new is looked at: what was there before the
credential was restricted is no reason to refuse a debugging container.
*/}}
{{- define "credential-injector.guards.useOfSecret" -}}
- name: secret
  expression: >-
    {{ . }}
- name: isInVariables
  expression: >-
    {{- include "credential-injector.guards.inVariables" "object.spec.?initContainers.orValue([])" | nindent 4 }} ||
    {{- include "credential-injector.guards.inVariables" "object.spec.containers" | nindent 4 }}
# Every kind of volume that has a field for a Secret (VolumeSource in core/v1).
- name: isInVolumes
  expression: >-
    object.spec.?volumes.orValue([]).exists(volume,
      volume.?secret.?secretName.orValue('') == variables.secret ||
      volume.?projected.?sources.orValue([]).exists(source, source.?secret.?name.orValue('') == variables.secret) ||
      volume.?csi.?nodePublishSecretRef.?name.orValue('') == variables.secret ||
      volume.?azureFile.?secretName.orValue('') == variables.secret ||
      volume.?cephfs.?secretRef.?name.orValue('') == variables.secret ||
      volume.?cinder.?secretRef.?name.orValue('') == variables.secret ||
      volume.?flexVolume.?secretRef.?name.orValue('') == variables.secret ||
      volume.?iscsi.?secretRef.?name.orValue('') == variables.secret ||
      volume.?rbd.?secretRef.?name.orValue('') == variables.secret ||
      volume.?scaleIO.?secretRef.?name.orValue('') == variables.secret ||
      volume.?storageos.?secretRef.?name.orValue('') == variables.secret)
# Those that the API server has copied from the service account included.
- name: isInPullSecrets
  expression: >-
    object.spec.?imagePullSecrets.orValue([]).exists(reference, reference.?name.orValue('') == variables.secret)
- name: isInNewContainers
  expression: >-
    {{- include "credential-injector.guards.inVariables" "object.spec.?ephemeralContainers.orValue([]).filter(container, !oldObject.spec.?ephemeralContainers.orValue([]).exists(old, old.name == container.name))" | nindent 4 }}
- name: isUsed
  expression: >-
    request.operation == 'CREATE' ?
    variables.isInVariables || variables.isInVolumes || variables.isInPullSecrets :
    variables.isInNewContainers
{{- end }}

{{/*
CEL, for a message: who may use the credential, of a list (an expression) of allowed service accounts. Lists have up to 64
names, and messages an end.
*/}}
{{- define "credential-injector.guards.whoMay" -}}
(size({{ . }}) == 0 ? 'no pod of this namespace may use' :
 'only pods of service account ' + {{ . }}.filter(name, {{ . }}.indexOf(name) < 5).join(', ') +
 (size({{ . }}) > 5 ? ' and others' : '') + ' may use')
{{- end }}

{{/* The variables `labels` and `isOffered`: whether a ClusterCredential selects the namespace, as src/api/selector.ts has it. */}}
{{- define "credential-injector.guards.offer" -}}
- name: labels
  expression: namespaceObject.metadata.?labels.orValue({})
- name: isOffered
  expression: >-
    has(params.spec.namespaceSelector) &&
    params.spec.namespaceSelector.?matchLabels.orValue({}).all(key, key in variables.labels && variables.labels[key] == params.spec.namespaceSelector.matchLabels[key]) &&
    params.spec.namespaceSelector.?matchExpressions.orValue([]).all(each,
      each.operator == 'In' ? each.key in variables.labels && variables.labels[each.key] in each.?values.orValue([]) :
      each.operator == 'NotIn' ? !(each.key in variables.labels && variables.labels[each.key] in each.?values.orValue([])) :
      each.operator == 'Exists' ? each.key in variables.labels :
      !(each.key in variables.labels))
{{- end }}
