// Pins whose CustomResourceDefinitions the chart's objects are checked against; no program is built from it.
module credential-injector/test/cluster/crds

go 1.26.0

require (
	github.com/cert-manager/cert-manager v1.21.2
	github.com/prometheus-operator/prometheus-operator v0.92.0
)
