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

{{/* Known to the values of the NATS chart, which see the release's name and nothing of this chart. */}}
{{- define "agent-event-bridge.natsUsersName" -}}
{{- .Release.Name }}-nats-auth
{{- end }}

{{/* With the namespace, so that a bridge in a pod of another one finds it too. */}}
{{- define "agent-event-bridge.natsUrl" -}}
{{- if .Values.nats.enabled -}}
{{- $host := (.Values.nats.service).name | default (include "agent-event-bridge.natsName" .) -}}
nats://{{ $host }}.{{ .Release.Namespace }}:{{ include "agent-event-bridge.natsPort" . }}
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

{{- define "agent-event-bridge.secretEnv" }}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef:
      name: {{ index . 1 | quote }}
      key: {{ index . 2 | quote }}
{{- end }}
