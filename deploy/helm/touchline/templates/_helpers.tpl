{{- define "touchline.services" -}}
ingest: {key: ingest, port: 8080, command: [touchline-ingest, serve], group: ""}
stage-engine: {key: stageEngine, port: 8081, command: [touchline-stage-engine, run], group: stage-engine}
notifier: {key: notifier, port: 8082, command: [touchline-notifier, run], group: notifier}
console: {key: console, port: 8090, command: [touchline-console, serve], group: ""}
{{- end -}}

{{- define "touchline.labels" -}}
app.kubernetes.io/name: touchline
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{- define "touchline.allLabels" -}}
{{ include "touchline.labels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "touchline.image" -}}
{{ .root.Values.image.registry }}/touchline-{{ .component }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end -}}

{{- define "touchline.bootstrap" -}}
{{- if .Values.strimzi.enabled -}}
{{ .Release.Name }}-kafka-bootstrap:9093
{{- else -}}
{{ required "kafka.bootstrapServers is needed unless strimzi.enabled" .Values.kafka.bootstrapServers }}
{{- end -}}
{{- end -}}

{{- define "touchline.databaseSecret" -}}
{{- if .Values.cloudnativepg.enabled -}}
name: {{ .Release.Name }}-db-app
key: uri
{{- else -}}
name: {{ required "database.urlSecret.name is needed unless cloudnativepg.enabled" .Values.database.urlSecret.name }}
key: {{ .Values.database.urlSecret.key }}
{{- end -}}
{{- end -}}

{{/* The environment that all containers share; .component and .key name the service. */}}
{{- define "touchline.env" -}}
{{- $v := .root.Values -}}
- {name: TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS, value: {{ include "touchline.bootstrap" .root | quote }}}
- {name: TOUCHLINE_TOPIC_PREFIX, value: {{ $v.kafka.topicPrefix | quote }}}
- {name: TOUCHLINE_PARTITIONS, value: {{ $v.kafka.partitions | quote }}}
- {name: TOUCHLINE_KAFKA_REPLICATION_FACTOR, value: {{ $v.kafka.replicationFactor | quote }}}
{{- if $v.strimzi.enabled }}
- {name: TOUCHLINE_KAFKA_SECURITY_PROTOCOL, value: SASL_SSL}
- {name: TOUCHLINE_KAFKA_SASL_MECHANISM, value: SCRAM-SHA-512}
- {name: TOUCHLINE_KAFKA_SASL_USERNAME, value: {{ printf "%s-%s" .root.Release.Name .component | quote }}}
- name: TOUCHLINE_KAFKA_SASL_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ printf "%s-%s" .root.Release.Name .component | quote }}, key: password}}
- {name: TOUCHLINE_KAFKA_CA_FILE, value: /etc/touchline/ca/ca.crt}
{{- else }}
- {name: TOUCHLINE_KAFKA_SECURITY_PROTOCOL, value: {{ $v.kafka.securityProtocol | quote }}}
{{- if hasPrefix "SASL" $v.kafka.securityProtocol }}
{{- $secret := required (printf "kafka.credentials.%s is needed with %s" .key $v.kafka.securityProtocol) (index $v.kafka.credentials .key) }}
- {name: TOUCHLINE_KAFKA_SASL_MECHANISM, value: {{ $v.kafka.saslMechanism | quote }}}
- name: TOUCHLINE_KAFKA_SASL_USERNAME
  valueFrom: {secretKeyRef: {name: {{ $secret | quote }}, key: username}}
- name: TOUCHLINE_KAFKA_SASL_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ $secret | quote }}, key: password}}
{{- end }}
{{- if $v.kafka.caSecret.name }}
- {name: TOUCHLINE_KAFKA_CA_FILE, value: /etc/touchline/ca/{{ $v.kafka.caSecret.key }}}
{{- end }}
{{- end }}
- name: TOUCHLINE_DATABASE_URL
  valueFrom:
    secretKeyRef:
      {{- include "touchline.databaseSecret" .root | nindent 6 }}
{{- end -}}

{{/* Sign-in by OpenID Connect: what the console needs, and the public key for the others. */}}
{{- define "touchline.oidcEnv" -}}
{{- $oidc := .root.Values.oidc -}}
{{- if eq .component "console" -}}
- {name: TOUCHLINE_CONSOLE_URL, value: {{ required "oidc.consoleUrl is needed with oidc.issuer" $oidc.consoleUrl | quote }}}
- {name: TOUCHLINE_OIDC_ISSUER, value: {{ $oidc.issuer | quote }}}
- {name: TOUCHLINE_OIDC_CLIENT_ID, value: {{ required "oidc.clientId is needed with oidc.issuer" $oidc.clientId | quote }}}
- {name: TOUCHLINE_OIDC_ROLES, value: {{ required "oidc.roles is needed with oidc.issuer" $oidc.roles | quote }}}
- {name: TOUCHLINE_OIDC_ROLES_CLAIM, value: {{ $oidc.rolesClaim | quote }}}
- {name: TOUCHLINE_OIDC_NAME_CLAIM, value: {{ $oidc.nameClaim | quote }}}
- {name: TOUCHLINE_OIDC_SCOPES, value: {{ $oidc.scopes | quote }}}
- {name: TOUCHLINE_OIDC_TITLE, value: {{ $oidc.title | quote }}}
{{- $secret := required "oidc.secret is needed with oidc.issuer" $oidc.secret }}
- name: TOUCHLINE_OIDC_CLIENT_SECRET
  valueFrom: {secretKeyRef: {name: {{ $secret | quote }}, key: client-secret}}
- name: TOUCHLINE_CONSOLE_KEY
  valueFrom: {secretKeyRef: {name: {{ $secret | quote }}, key: console-key}}
{{- else -}}
- {name: TOUCHLINE_CONSOLE_PUBLIC_KEYS, value: {{ required "oidc.publicKeys is needed with oidc.issuer" $oidc.publicKeys | quote }}}
{{- end -}}
{{- end -}}

{{- define "touchline.caVolume" -}}
{{- if .Values.strimzi.enabled -}}
{name: ca, secret: {secretName: {{ .Release.Name }}-cluster-ca-cert, items: [{key: ca.crt, path: ca.crt}]}}
{{- else if .Values.kafka.caSecret.name -}}
{name: ca, secret: {secretName: {{ .Values.kafka.caSecret.name }}}}
{{- end -}}
{{- end -}}

{{- define "touchline.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "touchline.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}
