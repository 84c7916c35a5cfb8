apiVersion: breakwater.dev/v1alpha1
kind: ResiliencePolicy
metadata: {name: {{ .Release.Name }}}
