"""Small files of every format, as their publishers write them."""

from __future__ import annotations

AZURE_2023 = (
    b"TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
    b"2023-11-16 18:15:46.6805900,374,44\r\n"
    b"2023-11-16 18:15:50.9951690,396,109\r\n"
    b"2023-11-16 18:15:51.2221690,879,55"
)
AZURE_2024 = (
    b"TIMESTAMP,ContextTokens,GeneratedTokens\n"
    b"2024-05-10 00:00:00.009930+00:00,2162,5\n"
    b"2024-05-10 00:00:00.017335+00:00,2399,6\n"
    b"2024-05-10 02:00:01.000000+02:00,76,15\n"
)
BURST = (
    b"Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    b"5,ChatGPT,472,18,490,Conversation log\n"
    b"45,ChatGPT,1087,230,1317,Conversation log\n"
    b"45,GPT-4,417,276,693,API log\n"
    b"118,ChatGPT,0,0,0,Conversation log\n"
)
BURST_2 = (
    b"Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,"
    b"Total tokens,Log Type\n"
    b"7.5,3,0.2,GPT-4,100,20,120,API log\n"
    b"9.5,4,0.2,GPT-4,101,21,122,API log\n"
)
MOONCAKE = (
    b'{"timestamp": 27000, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1, 2]}\n'
    b'{"timestamp": 30000, "input_length": 7322, "output_length": 490, "hash_ids": [0, 14]}\n'
)
VIDUR = b"arrived_at,num_prefill_tokens,num_decode_tokens\n0.5,100,7\n1.25,200,8\n"
SERVEGEN = b"request_id,timestamp,input_tokens,output_tokens\n0,0.1,11,2\n1,0.4,12,3\n"
MAF_2021 = b"app,func,end_timestamp,duration\na,f,0.0795,0.078\na,g,2.5,0.0\nb,f,1.5,1.25\n"
OWN = b"arrival_s,task,prompt_tokens,output_tokens\n1.5,piqa,10,2\n4.5,copa,11,3\n"
MAF_2019 = (
    b"HashOwner,HashApp,HashFunction,Trigger,1,2,3\n"
    b"o,a,f,http,1,0,4\no,a,g,timer,1,1,1\no,b,f,queue,0,9,0\n"
)

REQUESTS = {
    "azure-llm-2023": (AZURE_2023, 3),
    "azure-llm-2024": (AZURE_2024, 3),
    "burstgpt": (BURST, 4),
    "mooncake": (MOONCAKE, 2),
    "vidur": (VIDUR, 2),
    "servegen": (SERVEGEN, 2),
    "maf2021": (MAF_2021, 3),
    "llmroute": (OWN, 2),
}
"""Format: a file of it and the number of its rows."""

EVERY = [content for content, _ in REQUESTS.values()] + [BURST_2, MAF_2019]
