{{/* What both programs' pods have in common: everything that Pod Security's level "restricted" asks for, and a little more. */}}

{{- define "credential-injector.pod.securityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
# Files of Secrets and tokens are readable for this group, and for nobody else.
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "credential-injector.container.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
privileged: false
capabilities:
  drop: [ALL]
{{- end }}

{{/* Takes (list context values-of-the-program). Where pods may run, and who gives way to whom. */}}
{{- define "credential-injector.pod.scheduling" -}}
{{- $root := index . 0 -}}
{{- $values := index . 1 -}}
{{- with include "credential-injector.priorityClass.name" $root }}
priorityClassName: {{ . }}
{{- end }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
The token of the service account, mounted here and not by the account: only the pods that talk to the API server have one.
*/}}
{{- define "credential-injector.token.volume" -}}
- name: api-access
  projected:
    defaultMode: 288 # 0440
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3607
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
      - downwardAPI:
          items:
            - path: namespace
              fieldRef:
                fieldPath: metadata.namespace
{{- end }}

{{- define "credential-injector.token.mount" -}}
- name: api-access
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- end }}

{{/* Takes the values of a program. The heap gets 70 % of the memory limit: buffers, code and stacks need the rest. */}}
{{- define "credential-injector.env" -}}
{{- $given := false -}}
{{- range .extraEnv }}{{ if eq .name "NODE_OPTIONS" }}{{ $given = true }}{{ end }}{{ end -}}
{{- $memory := ((.resources).limits).memory -}}
{{- if and $memory (not $given) }}
- name: NODE_OPTIONS
  value: --max-old-space-size={{ mulf 0.7 (include "credential-injector.mebibytes" $memory) | floor | int }}
{{- end }}
{{- with .extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A Kubernetes quantity in MiB, as a decimal number; empty if it is none. */}}
{{- define "credential-injector.mebibytes" -}}
{{- $text := kindIs "float64" . | ternary (int64 (kindIs "float64" . | ternary . 0)) . | toString -}}
{{- $factors := dict "" 1.0 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 -}}
{{- $unit := regexFind "[a-zA-Z]*$" $text -}}
{{- $number := trimSuffix $unit $text -}}
{{- if and (hasKey $factors $unit) (regexMatch "^[0-9]+(\\.[0-9]+)?$" $number) -}}
{{- divf (mulf (float64 $number) (get $factors $unit)) 1048576.0 -}}
{{- end -}}
{{- end }}

{{/* Both programs answer on their port "ops", without TLS. */}}
{{- define "credential-injector.probes" -}}
startupProbe:
  httpGet: { path: /healthz, port: ops }
  periodSeconds: 1
  # A start takes a second or two; a slow node gets two minutes.
  failureThreshold: 120
readinessProbe:
  httpGet: { path: /readyz, port: ops }
  periodSeconds: 3
  timeoutSeconds: 2
  # A pod that ends is taken out of the endpoints for that alone. One slow answer of each pod must not leave none.
  failureThreshold: 3
livenessProbe:
  httpGet: { path: /healthz, port: ops }
  periodSeconds: 10
  timeoutSeconds: 5
  # A pod is restarted for being stuck, not for being busy.
  failureThreshold: 6
{{- end }}
