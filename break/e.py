from lib import *
# E: one hot identity (placeholder phone 000000)
kind=sys.argv[1]; N=int(sys.argv[2])
url=newdb(kind,'brk_e'); s=Svc(url,log='warn')
q=(lambda x: pg(15432,x,db='brk_e')) if kind=='pg' else (lambda x: my(23307,x.replace('"','`'),db='brk_e'))
s.call('p@x','000000')
if kind=='pg':
    q(f'''INSERT INTO "Contact"(id,email,"phoneNumber","linkedId","linkPrecedence","createdAt","updatedAt") SELECT g,'u'||g||'@shop.example','000000',1,'secondary',now(),now() FROM generate_series(2,{N}) g; SELECT setval(pg_get_serial_sequence('"Contact"','id'),{N+10}); INSERT INTO "Identifier" SELECT 'email',convert_to('u'||g||'@shop.example','UTF8'),g FROM generate_series(2,{N}) g; ANALYZE''')
else:
    my(23307,f'''SET SESSION cte_max_recursion_depth=1000000; INSERT INTO Contact(id,email,phoneNumber,linkedId,linkPrecedence,createdAt,updatedAt) WITH RECURSIVE s(g) AS (SELECT 2 UNION ALL SELECT g+1 FROM s WHERE g<{N}) SELECT g,concat('u',g,'@shop.example'),'000000',1,'secondary',now(6),now(6) FROM s; INSERT INTO Identifier SELECT 'email',email,id FROM Contact WHERE id>1''',db='brk_e')
print('rss before',s.rss()); b=time.time(); r=s.call('p@x',None); print('one match',r[0],round(time.time()-b,2),'s rss',s.rss())
b=time.time(); r=s.call('q@x','000000'); print('one link',r[0],round(time.time()-b,2))
peak=[0]; stop=False
def mon():
    while not stop: peak[0]=max(peak[0],s.rss()); time.sleep(.05)
t=threading.Thread(target=mon); t.start()
with ThreadPoolExecutor(200) as ex:
    b=time.time(); f=[ex.submit(s.call,f'n{i}@x','000000','20S',60) for i in range(200)]; time.sleep(1)
    o=[ex.submit(s.call,f'other{i}@x',f'7{i}','10S',60) for i in range(5)]
    rs=[x.result() for x in f]; os_=[x.result() for x in o]
stop=True; t.join()
from collections import Counter
print('200 links at once:',Counter(x[0] for x in rs),'others',[show(x)[:60] for x in os_],'took',round(time.time()-b,1),'s peak rss MiB',peak[0],'after',s.rss(),'alive',s.p.poll() is None,'readyz',s.get('/readyz'))
# merge into an older identity
s2=s
q('''INSERT INTO "Contact"(id,email,"linkPrecedence","createdAt","updatedAt") VALUES(900000,'old@x','primary','2001-01-01','2001-01-01')'''); 
q('''INSERT INTO "Identifier" VALUES('email','old@x',900000)''')
b=time.time(); r=s.call('old@x','000000',timeout='25S'); print('merge of it:',r[0],r[1], show(r)[:100] if r[0]!=200 else '',round(time.time()-b,1),'readyz',s.get('/readyz')); print('stranger:',show(s.call('str@x',None))[:80])
print(s.log()[-300:]); s.stop()
