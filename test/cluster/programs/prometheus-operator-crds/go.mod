// Pins whose CustomResourceDefinitions the chart's monitoring objects are checked against. No program is built from it.
module credential-injector/test/cluster/programs/prometheus-operator-crds

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.92.0
