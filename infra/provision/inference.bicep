// The resources of one web API with a GPU, provisioned by hand: what Moorage creates for the same documents, under the parameter
// names of an AI Toolkit project. Names that are null are derived from the resource group, as that project derives them.
//
//   az deployment group create -g GROUP --template-file inference.bicep --parameters @inference.parameters.json
//
// The code is looked for on the share, in `inference/`; upload it before the first start. For resources that Moorage takes over,
// deploy `moorage export arm` instead: it carries the tags by which Moorage knows its own.

targetScope = 'resourceGroup'

@description('What the container runs, joined by "; ": a command that fails does not stop the next.')
param defaultCommands array

@description('The most nodes that the GPU profile may have.')
@minValue(1)
param maximumInstanceCount int

@description('The region; that of the resource group when null.')
param location string?

@description('The storage account; aistorage and the suffix when null.')
param storageAccountName string?

@description('The file share; aifileshare and the suffix when null.')
param fileShareName string?

@description('The managed environment; aienv and the suffix when null.')
param acaEnvironmentName string?

@description('The name under which the environment knows the share; aienvstorage and the suffix when null.')
param acaEnvironmentStorageName string?

@description('The container app; aiacaapp and the suffix when null.')
param acaAppName string?

@description('The Log Analytics workspace; ailog and the suffix when null.')
param acaLogAnalyticsName string?

@description('Ends every derived name; the same for each deployment to the resource group, so that fine-tuning finds the same share.')
param resourceSuffix string = substring(uniqueString(resourceGroup().id), 0, 5)

var region = location ?? (resourceGroup().location)
var accountName = storageAccountName ?? 'aistorage${resourceSuffix}'
var shareName = fileShareName ?? 'aifileshare${resourceSuffix}'
var environmentName = acaEnvironmentName ?? 'aienv${resourceSuffix}'
var storageName = acaEnvironmentStorageName ?? 'aienvstorage${resourceSuffix}'
var appName = acaAppName ?? 'aiacaapp${resourceSuffix}'
var workspaceName = acaLogAnalyticsName ?? 'ailog${resourceSuffix}'
var mountPath = '/mount/inference'

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' = {
  name: workspaceName
  location: region
  properties: {
    sku: {
      name: 'PerGB2018'
    }
    retentionInDays: 30
  }
}

resource account 'Microsoft.Storage/storageAccounts@2026-09-01' = {
  name: accountName
  location: region
  kind: 'StorageV2'
  sku: {
    name: 'Standard_LRS'
  }
  properties: {
    allowSharedKeyAccess: true // Container Apps mounts a share by its key only
    allowBlobPublicAccess: false
    minimumTlsVersion: 'TLS1_2'
  }
}

resource files 'Microsoft.Storage/storageAccounts/fileServices@2026-09-01' existing = {
  parent: account
  name: 'default'
}

resource share 'Microsoft.Storage/storageAccounts/fileServices/shares@2026-09-01' = {
  parent: files
  name: shareName
  properties: {
    shareQuota: 1024
  }
}

resource environment 'Microsoft.App/managedEnvironments@2026-07-01' = {
  name: environmentName
  location: region
  properties: {
    workloadProfiles: [
      {
        name: 'Consumption'
        workloadProfileType: 'Consumption'
      }
      {
        name: 'GPU'
        workloadProfileType: 'NC24-A100'
        minimumCount: 0
        maximumCount: maximumInstanceCount
      }
    ]
    appLogsConfiguration: {
      destination: 'log-analytics'
      logAnalyticsConfiguration: {
        customerId: workspace.properties.customerId
        sharedKey: listKeys(workspace.id, '2023-09-01').primarySharedKey
      }
    }
  }
}

resource readable 'Microsoft.App/managedEnvironments/storages@2026-07-01' = {
  parent: environment
  name: storageName
  properties: {
    azureFile: {
      accountName: account.name
      shareName: share.name
      accessMode: 'ReadOnly'
      accountKey: account.listKeys().keys[0].value
    }
  }
}

resource writable 'Microsoft.App/managedEnvironments/storages@2026-07-01' = {
  parent: environment
  name: '${storageName}-rw'
  properties: {
    azureFile: {
      accountName: account.name
      shareName: share.name
      accessMode: 'ReadWrite'
      accountKey: account.listKeys().keys[0].value
    }
  }
}

resource app 'Microsoft.App/containerApps@2026-07-01' = {
  name: appName
  location: region
  properties: {
    environmentId: environment.id
    workloadProfileName: 'GPU'
    configuration: {
      activeRevisionsMode: 'Multiple'
      ingress: {
        external: true
        targetPort: 7860
        transport: 'Auto'
        allowInsecure: false
        traffic: [
          {
            latestRevision: true
            weight: 100
          }
        ]
      }
    }
    template: {
      containers: [
        {
          name: 'app'
          image: 'docker.io/pytorch/pytorch:2.4.0-cuda12.4-cudnn9-runtime'
          command: [
            '/bin/sh'
            '-c'
            'cd ${mountPath} && exec "$@"'
            'sh'
            '/bin/bash'
            '-c'
            join(defaultCommands, '; ')
          ]
          args: []
          env: []
          resources: {
            cpu: 24
            memory: '220Gi'
          }
          probes: [
            {
              type: 'Startup'
              tcpSocket: {
                port: 7860
              }
              periodSeconds: 5
              failureThreshold: 240
              timeoutSeconds: 3
            }
            {
              type: 'Readiness'
              tcpSocket: {
                port: 7860
              }
              periodSeconds: 5
              failureThreshold: 48
              timeoutSeconds: 5
            }
            {
              type: 'Liveness'
              tcpSocket: {
                port: 7860
              }
              periodSeconds: 10
              failureThreshold: 3
              timeoutSeconds: 5
            }
          ]
          volumeMounts: [
            {
              volumeName: 'share'
              mountPath: mountPath
              subPath: 'inference'
            }
          ]
        }
      ]
      scale: {
        minReplicas: 1
        maxReplicas: 1
        cooldownPeriod: 300
        pollingInterval: 30
        rules: [
          {
            name: 'http'
            http: {
              metadata: {
                concurrentRequests: '16'
              }
            }
          }
        ]
      }
      volumes: [
        {
          name: 'share'
          storageType: 'AzureFile'
          storageName: readable.name
          mountOptions: 'dir_mode=0755,file_mode=0644,mfsymlinks,nobrl,cache=strict,actimeo=1'
        }
      ]
      terminationGracePeriodSeconds: 60
    }
  }
}

output SUBSCRIPTION_ID string = subscription().subscriptionId
output RESOURCE_GROUP_NAME string = resourceGroup().name
output STORAGE_ACCOUNT_NAME string = account.name
output FILE_SHARE_NAME string = share.name
output ACA_APP_NAME string = app.name
output ACA_APP_ENDPOINT string = app.properties.configuration.ingress.fqdn
