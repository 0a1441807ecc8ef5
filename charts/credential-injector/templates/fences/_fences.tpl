{{/*
Fences: what RBAC cannot say about the rights of the controller. A role can give `update` on all Secrets or on some by name,
not on those that are copies; so whoever stole the controller's token could overwrite every Secret of the cluster. These policies
hold for that one account and look at what it writes. Nobody else ever meets them.

Takes (list context name rules): the head of a policy, up to and with its conditions.
*/}}
{{- define "credential-injector.fences.policy" -}}
{{- $root := index . 0 }}{{ $name := include "credential-injector.fences.name" (list $root (index . 1)) -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ $name }}
  labels:
    {{- include "credential-injector.labels" (list $root "controller") | nindent 4 }}
spec:
  policyName: {{ $name }}
  validationActions: [Deny]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ $name }}
  labels:
    {{- include "credential-injector.labels" (list $root "controller") | nindent 4 }}
spec:
  failurePolicy: Fail
  matchConditions:
    - name: is-the-controller
      expression: >-
        request.userInfo.username == 'system:serviceaccount:{{ $root.Release.Namespace }}:{{ include "credential-injector.controller.name" $root }}'
{{- end }}

{{/* CEL: a field of the object and of the old one (expressions), both maps: equal but for some keys (a list expression). */}}
{{- define "credential-injector.fences.sameBut" -}}
{{- $new := index . 0 }}{{ $old := index . 1 }}{{ $but := index . 2 -}}
(dyn({{ $new }}).all(k, k in {{ $but }} || (k in dyn({{ $old }}) && dyn({{ $new }})[k] == dyn({{ $old }})[k])) && dyn({{ $old }}).all(k, k in {{ $but }} || k in dyn({{ $new }})))
{{- end }}

{{/* CEL: fields of metadata that the API server itself changes with every update. */}}
{{- define "credential-injector.fences.bookkeeping" -}}
['managedFields', 'generation', 'resourceVersion']
{{- end }}
