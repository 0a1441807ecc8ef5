/** Turns what Helm renders into manifests for people who do not use Helm. */

/** Lines that say that Helm looks after an object. */
const OF_HELM = /^ +(helm\.sh\/chart|app\.kubernetes\.io\/managed-by): .*\n/gm

/** `rendered` is the output of `helm template`; the namespace comes first and holds its pods to the strictest level. */
export function plainManifests(rendered: string, namespace: string): string {
  return `# Made from charts/credential-injector by \`npm run manifests\`.
apiVersion: v1
kind: Namespace
metadata:
  name: ${namespace}
  labels:
    pod-security.kubernetes.io/enforce: restricted
${rendered.replaceAll(OF_HELM, '').replaceAll(/\n{2,}---\n/g, '\n---\n')}`
}
