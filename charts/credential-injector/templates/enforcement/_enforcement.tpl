{{/*
The check of finished pods: what a policy with `enforcement: Enforce` gives is in the pod after every other webhook has had
its say, or the pod is refused. The API server does this itself, so no outage of ours lets a pod through. The controller
writes into the status of each credential which policies enforce it and for whom; this reads it there.

Every expression follows what the webhook does to the letter (src/inject: environment.ts, files.ts, plan.ts) and must never
refuse what came out of it; test/cluster/enforcement.test.ts sends it random pods. No expression may fail for want of a field:
that would refuse innocent pods.
*/}}

{{/* CEL: whether a label selector (an expression; absent: it holds) selects a map of labels. As meta/v1 LabelSelector. */}}
{{- define "credential-injector.enforcement.selects" -}}
{{- $entry := index . 0 }}{{ $selector := index . 1 }}{{ $labels := index . 2 -}}
(!has({{ $entry }}.{{ $selector }}) || (
  {{ $entry }}.{{ $selector }}.?matchLabels.orValue({}).all(k,
    k in {{ $labels }} && {{ $labels }}[k] == {{ $entry }}.{{ $selector }}.matchLabels[k]) &&
  {{ $entry }}.{{ $selector }}.?matchExpressions.orValue([]).all(r,
    r.operator == 'In' ? r.key in {{ $labels }} && {{ $labels }}[r.key] in r.?values.orValue([]) :
    r.operator == 'NotIn' ? !(r.key in {{ $labels }}) || !({{ $labels }}[r.key] in r.?values.orValue([])) :
    r.operator == 'Exists' ? r.key in {{ $labels }} :
    r.operator == 'DoesNotExist' && !(r.key in {{ $labels }}))))
{{- end }}

{{/* CEL: a path (an expression) in the form in which equal folders are equal texts, as normalizeFolder in src/api/paths.ts. */}}
{{- define "credential-injector.enforcement.folder" -}}
('/' + ({{ . }}.matches(r'^[A-Za-z]:[/\\]') ? {{ . }}.replace('\\', '/').lowerAscii() : {{ . }}).split('/').filter(s, s != '' && s != '.').join('/'))
{{- end }}

{{/* CEL: how every message begins. */}}
{{- define "credential-injector.enforcement.subject" -}}
'policy ' + variables.enforcing[0].policy + ' enforces {{ . }} ' + params.metadata.name
{{- end }}

{{/* CEL: how every message ends. */}}
{{- define "credential-injector.enforcement.advice" -}}
'. The webhook puts it there; either it was not asked about this pod, or something has changed the pod since. Create the pod again, and if that does not help, look for another webhook that changes it'
{{- end }}

{{/* Takes (list context kind name secret): secret is a CEL expression for the Secret's name in the pod's namespace. */}}
{{- define "credential-injector.enforcement.policy" -}}
{{- $root := index . 0 }}{{ $kind := index . 1 }}{{ $name := index . 2 }}{{ $secret := index . 3 -}}
{{- $subject := include "credential-injector.enforcement.subject" $kind -}}
{{- $advice := include "credential-injector.enforcement.advice" $root -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ $name }}
  labels:
    {{- include "credential-injector.labels" (list $root "webhook") | nindent 4 }}
spec:
  failurePolicy: {{ $root.Values.enforcement.failurePolicy }}
  paramKind:
    apiVersion: run.ai/v1
    kind: {{ $kind }}
  matchConstraints:
    resourceRules:
      - apiGroups: ['']
        apiVersions: [v1]
        resources: [pods]
        operations: [CREATE]
        scope: Namespaced
  matchConditions:
    # For nearly every credential it ends here.
    - name: is-enforced
      expression: >-
        has(params.status) && params.status.?enforcedBy.orValue([]).size() > 0
    # It shows what runs on a node already, and no kubelet ever runs it.
    - name: is-not-a-mirror-pod
      expression: >-
        !('kubernetes.io/config.mirror' in object.metadata.?annotations.orValue({}))
  variables:
    - name: namespaceLabels
      expression: namespaceObject.metadata.?labels.orValue({})
    - name: podLabels
      expression: object.metadata.?labels.orValue({})
    # Policies that hold for this pod.
    {{- if eq $kind "ClusterCredential" }} Where it is not offered there is no secret to demand, and its name may mean a Credential.{{ end }}
    - name: enforcing
      expression: >-
        {{- if eq $kind "ClusterCredential" }}
        !has(params.spec.namespaceSelector) || !
        {{- include "credential-injector.enforcement.selects" (list "params.spec" "namespaceSelector" "variables.namespaceLabels") | nindent 8 }} ? [] :
        {{- end }}
        params.status.enforcedBy.filter(e,
        {{- include "credential-injector.enforcement.selects" (list "e" "namespaceSelector" "variables.namespaceLabels") | nindent 8 }} &&
        {{- include "credential-injector.enforcement.selects" (list "e" "podSelector" "variables.podLabels") | nindent 8 }})
    # Not the ephemeral ones: they come later, and to a pod whose volumes cannot change any more.
    - name: containers
      expression: object.spec.containers + object.spec.?initContainers.orValue([])
    - name: secret
      expression: {{ $secret }}
    - name: keys
      expression: params.status.?keys.orValue([])

    # ---- Environment ----
    # Every key of the secret becomes a variable, by envFrom.
    - name: whole
      expression: params.spec.type == 'environment' && !has(params.spec.variables)
    - name: listed
      expression: params.spec.?variables.orValue([])
    # envFrom as a word: S loads the secret for certain, s loads it if it is there, c is a ConfigMap, o another secret. The last to
    # have a key wins. The webhook lets secrets of other credentials follow, of whose keys it knows, and nothing that it cannot
    # look into; which of the secrets are known is not seen from here.
    - name: unloaded
      expression: >-
        variables.whole ? variables.containers.filter(c, !c.?envFrom.orValue([]).map(e,
          has(e.configMapRef) ? 'c' :
          e.?secretRef.?name.orValue('') != variables.secret || e.?prefix.orValue('') != '' ? 'o' :
          e.secretRef.?optional.orValue(false) ? 's' : 'S').join('').matches('So*$')) : []
    # Names that nobody else may give a value to.
    - name: names
      expression: >-
        variables.whole ? variables.keys : variables.listed.map(v, v.name)
    # The last entry of a name counts. Of a whole secret there need not be any, and what there is may be optional: envFrom is not.
    - name: overridden
      expression: >-
        size(variables.names) == 0 ? [] : variables.containers.filter(c,
          [c.?env.orValue([]).filter(e, e.name in variables.names)].exists(env, [env.map(e, e.name)].exists(names,
            variables.whole ? size(env) > 0 && variables.keys.exists(k, [names.lastIndexOf(k)].exists(i, i >= 0 && (
              env[i].?valueFrom.?secretKeyRef.?name.orValue('') != variables.secret ||
              env[i].?valueFrom.?secretKeyRef.?key.orValue('') != k))) :
            variables.listed.exists(v, [names.lastIndexOf(v.name)].exists(i, i < 0 || (has(v.value) ?
              has(env[i].valueFrom) ||
              env[i].?value.orValue('').replace('$$', 'x').contains('$(') ||
              env[i].?value.orValue('').replace('$$', '$') != v.value :
              env[i].?valueFrom.?secretKeyRef.?name.orValue('') != variables.secret ||
              env[i].?valueFrom.?secretKeyRef.?key.orValue('') != v.?key.orValue(v.name) ||
              env[i].?valueFrom.?secretKeyRef.?optional.orValue(false)))))))

    # ---- Files ----
    - name: folder
      expression: >-
        {{ include "credential-injector.enforcement.folder" "params.spec.?mountPath.orValue('/')" }}
    # As far as they are known: of a whole secret that does not exist yet, none.
    - name: files
      expression: >-
        params.spec.type != 'file' ? [] :
        has(params.spec.files) ? params.spec.files.map(f, {'key': f.key, 'path': f.?path.orValue(f.key)}) :
        variables.keys.map(k, {'key': k, 'path': k})
    - name: paths
      expression: >-
        variables.files.map(f, params.spec.mountPath + '/' + f.path).map(p,
        {{- include "credential-injector.enforcement.folder" "p" | nindent 8 }})
    # Volumes that hold them all, and nothing else in their place: of two sources with one path the later counts, and the webhook
    # puts whole secrets (w) before listed files (l). Modes are not looked at.
    - name: volumes
      expression: >-
        params.spec.type != 'file' ? [] : object.spec.?volumes.orValue([]).filter(v, has(v.projected) &&
          [v.projected.?sources.orValue([])].exists(sources,
            sources.all(s, has(s.secret) && !s.secret.?optional.orValue(false)) &&
            !sources.map(s, has(s.secret.items) ? 'l' : 'w').join('').matches('lw') &&
            [sources.filter(s, s.secret.?name.orValue('') == variables.secret)].exists(own,
              (!has(params.spec.files) && own.exists(s, !has(s.secret.items))) ||
              (size(variables.files) > 0 && variables.files.all(f, own.exists(s, has(s.secret.items) ?
                s.secret.items.exists(i, i.key == f.key && i.path == f.path) : f.key == f.path)))) &&
            sources.all(s, s.secret.?name.orValue('') == variables.secret || !s.secret.?items.orValue([]).exists(i,
              variables.files.exists(f, f.path == i.path))))).map(v, v.name)
    # Of mounts at one folder the last is seen.
    - name: unmounted
      expression: >-
        params.spec.type != 'file' ? [] : variables.containers.filter(c,
          ![c.?volumeMounts.orValue([]).filter(m,
          {{- include "credential-injector.enforcement.folder" "m.mountPath" | nindent 10 }} == variables.folder)].exists(here,
            size(here) > 0 &&
            here[size(here) - 1].name in variables.volumes &&
            here[size(here) - 1].?readOnly.orValue(false) &&
            here[size(here) - 1].?subPath.orValue('') == '' &&
            here[size(here) - 1].?subPathExpr.orValue('') == ''))
    # The API server stops an expression that takes too long, and the pod would go unchecked (or an innocent one be refused); so what
    # would take that long is refused first. The weights are those of the cost; ten thousand variables are far from the limit.
    - name: isSmall
      expression: >-
        variables.containers.map(c, size(c.?env.orValue([])) + size(c.?envFrom.orValue([])) + size(variables.names) +
          4 * size(c.?volumeMounts.orValue([]))).sum() +
        (params.spec.type != 'file' ? 0 : object.spec.?volumes.orValue([]).map(v, 5 +
          v.?projected.?sources.orValue([]).map(s, size(s.?secret.?items.orValue([])) * size(variables.files) + 1).sum()).sum()) <= 20000
    # Paths of mounts below the folder, for each container. Those that go back by `..` are not followed.
    - name: inside
      expression: >-
        variables.isSmall && params.spec.type == 'file' ? variables.containers.map(c, {'name': dyn(c.name), 'paths': dyn(c.?volumeMounts.orValue([]).map(m,
        {{- include "credential-injector.enforcement.folder" "m.mountPath" | nindent 8 }}).filter(p, p != variables.folder && p.startsWith(variables.folder + '/') && !(p + '/').contains('/../')))}) : []
    - name: isChecked
      expression: >-
        size(variables.enforcing) > 0 && variables.isSmall &&
        variables.inside.map(c, size(c.paths)).sum() * size(variables.files) <= 10000
    # A mount at a file's place, on the way to it or below it takes it away; and one at `..data` takes all, known or not: files of a
    # volume are links through it.
    - name: hidden
      expression: >-
        variables.inside.filter(c, c.paths.exists(p, p.startsWith(variables.folder + '/..') || variables.paths.exists(f,
          (f + '/').startsWith(p + '/') || (p + '/').startsWith(f + '/'))))
  validations:
    - expression: size(variables.enforcing) == 0 || variables.isChecked
      reason: Forbidden
      messageExpression: >-
        {{ $subject }} + ', and the pod has more variables, mounts and files than can be compared with it: give it fewer, or fewer containers'
    - expression: size(variables.unloaded) == 0 || !variables.isChecked
      reason: Forbidden
      messageExpression: >-
        {{ $subject }} + ', and container ' + variables.unloaded[0].name +
        ' does not load secret ' + variables.secret + ' by envFrom, for certain and after every ConfigMap' + {{ $advice }}
    - expression: size(variables.overridden) == 0 || !variables.isChecked
      reason: Forbidden
      messageExpression: >-
        {{ $subject }} + ', and container ' + variables.overridden[0].name + ' does not have ' +
        (size(variables.names) == 1 ? variables.names[0] : 'one of its ' + string(size(variables.names)) + ' variables') +
        ' from it: an entry of env is missing or has another source (secret ' + variables.secret + ')' + {{ $advice }}
    - expression: size(variables.unmounted) == 0 || !variables.isChecked
      reason: Forbidden
      messageExpression: >-
        {{ $subject }} + ', and container ' + variables.unmounted[0].name + ' does not have the files of secret ' +
        variables.secret + ' at ' + params.spec.mountPath + ', read-only and all of them' + {{ $advice }}
    - expression: size(variables.hidden) == 0 || !variables.isChecked
      reason: Forbidden
      messageExpression: >-
        {{ $subject }} + ', and a mount of container ' + variables.hidden[0].name + ' hides one of its files below ' +
        params.spec.mountPath + {{ $advice }}
    - expression: >-
        !variables.isChecked || params.spec.type != 'dockerRegistry' ||
        object.spec.?imagePullSecrets.orValue([]).exists(s, s.?name.orValue('') == variables.secret)
      reason: Forbidden
      messageExpression: >-
        {{ $subject }} + ', and imagePullSecrets does not have secret ' + variables.secret + {{ $advice }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ $name }}
  labels:
    {{- include "credential-injector.labels" (list $root "webhook") | nindent 4 }}
spec:
  policyName: {{ $name }}
  # Every one of them; of a namespaced kind those of the pod's namespace. Where there is none there is nothing to check.
  paramRef:
    selector: {}
    parameterNotFoundAction: Allow
  matchResources:
    namespaceSelector:
      matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: NotIn
          values:
            {{- concat (list "kube-system" "kube-node-lease" "kube-public" $root.Release.Namespace) $root.Values.admission.excludedNamespaces | uniq | toYaml | nindent 12 }}
  validationActions: [Deny]
{{- end }}
